-- What lies in `recordings/`, as views. Nothing is loaded: each query reads the files where they are, also those that still grow.
-- Start `clickhouse local` in the folder that `recordings` is in, or write another path here.

CREATE OR REPLACE VIEW lines AS
SELECT _path AS path, line
FROM file('recordings/**/*.pollscope', 'LineAsString', 'line String')
WHERE isValidJSON(line); -- the last line of a file may be cut short

-- The first line of each file says what it is of. A run is of one process; it can have several files.
CREATE OR REPLACE VIEW files AS
SELECT
  path,
  -- recordings/HOST/SERVICE/FILE; write here how your folders name a host
  splitByChar('/', path)[-3] AS host,
  JSONExtractString(line, 'recording', 'group') AS service,
  JSONExtract(line, 'recording', 'subject', 'build_id', 'Nullable(String)') AS build,
  parseDateTime64BestEffort(JSONExtractString(line, 'recording', 'started_at'), 9, 'UTC') AS started_at,
  concat(host, ' ', service, ' ', JSONExtractRaw(line, 'recording', 'subject', 'pid'), ' ', toString(started_at)) AS run
FROM lines
WHERE JSONHas(line, 'recording');

-- What slow polls have in common is in a line of its own, once in each file.
CREATE OR REPLACE VIEW kinds AS
SELECT
  path,
  JSONExtractInt(line, 'kind', 'id') AS kind,
  coalesce(
    JSONExtract(line, 'kind', 'places', 1, 'line', 'Nullable(String)'),
    JSONExtract(line, 'kind', 'places', 1, 'function', 'Nullable(String)'),
    JSONExtract(line, 'kind', 'spawned_at', 'Nullable(String)')
  ) AS place,
  JSONExtract(line, 'kind', 'places', 1, 'syscall', 'name', 'Nullable(String)') AS call,
  JSONExtract(line, 'kind', 'cause', 'Nullable(String)') AS cause,
  JSONExtract(line, 'kind', 'spawned_at', 'Nullable(String)') AS spawned_at,
  JSONExtract(line, 'kind', 'task_name', 'Nullable(String)') AS task
FROM lines
WHERE JSONHas(line, 'kind');

CREATE OR REPLACE VIEW slow_polls AS
WITH polls AS (
  SELECT
    path,
    JSONExtractInt(line, 'slow_poll', 'kind') AS kind,
    JSONExtractInt(line, 'slow_poll', 'start_ns') AS start_ns,
    JSONExtractInt(line, 'slow_poll', 'duration_ns') AS duration_ns,
    JSONExtract(line, 'slow_poll', 'span', 'trace_id', 'Nullable(String)') AS trace_id,
    JSONExtract(line, 'slow_poll', 'blame', 'tasks', 'Nullable(Int64)') AS tasks_that_waited,
    JSONExtract(line, 'slow_poll', 'blame', 'wait_ns', 'Nullable(Int64)') AS wait_ns
  FROM lines
  WHERE JSONHas(line, 'slow_poll')
)
SELECT * EXCEPT (kind), started_at + toIntervalNanosecond(start_ns) AS began_at
FROM polls JOIN files USING (path) JOIN kinds USING (path, kind);

CREATE OR REPLACE VIEW intervals AS
SELECT
  files.*,
  JSONExtractInt(line, 'interval', 'end_ns') - JSONExtractInt(line, 'interval', 'start_ns') AS length_ns,
  JSONExtract(line, 'interval', 'polls', 'count', 'Nullable(Int64)') AS polls,
  JSONExtract(line, 'interval', 'busy_ns', 'Nullable(Int64)') AS busy_ns,
  JSONExtract(line, 'interval', 'slow', 'Nullable(Int64)') AS slow
FROM lines JOIN files USING (path)
WHERE JSONHas(line, 'interval');

-- Who waited for whom, by spawn site, as it was written last of each run: each minute, and at the end.
CREATE OR REPLACE VIEW charges AS
WITH last AS (
  SELECT run, service, host, argMax(line, JSONExtractInt(line, 'known', 'elapsed_ns')) AS last_line
  FROM lines JOIN files USING (path)
  WHERE JSONHas(line, 'known')
  GROUP BY run, service, host
), listed AS (
  SELECT run, service, host, arrayJoin(JSONExtractArrayRaw(last_line, 'known', 'ledger', 'charges')) AS charge
  FROM last
)
SELECT
  run,
  service,
  host,
  JSONExtractString(charge, 'culprit') AS culprit,
  JSONExtractString(charge, 'waiter') AS waiter,
  JSONExtractInt(charge, 'tasks') AS tasks,
  JSONExtractInt(charge, 'wait_ns') AS wait_ns,
  JSONExtractInt(charge, 'wait_most_ns') AS wait_most_ns
FROM listed;
