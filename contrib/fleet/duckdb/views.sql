-- What lies in `recordings/`, as views. Nothing is loaded: each query reads the files where they are, also those that still grow.
-- Start DuckDB in the folder that `recordings` is in, or write another path here.

SET TimeZone = 'UTC';

CREATE OR REPLACE VIEW lines AS
SELECT *
FROM read_json(
  'recordings/**/*.pollscope',
  format = 'newline_delimited',
  columns = {recording: 'JSON', kind: 'JSON', slow_poll: 'JSON', "interval": 'JSON', known: 'JSON'},
  filename = true,
  maximum_object_size = 16777216,
  ignore_errors = true -- the last line of a file may be cut short
);

-- The first line of each file says what it is of. A run is of one process; it can have several files.
CREATE OR REPLACE VIEW files AS
SELECT
  filename,
  -- recordings/HOST/SERVICE/FILE; write here how your folders name a host
  regexp_extract(filename, '([^/]+)/[^/]+/[^/]+$', 1) AS host,
  recording->>'group' AS service,
  recording->>'$.subject.build_id' AS build,
  (recording->>'started_at')::TIMESTAMPTZ AS started_at,
  concat_ws(' ', host, service, recording->>'$.subject.pid', recording->>'started_at') AS run
FROM lines
WHERE recording IS NOT NULL;

-- What slow polls have in common is in a line of its own, once in each file.
CREATE OR REPLACE VIEW kinds AS
SELECT
  filename,
  (kind->>'id')::BIGINT AS kind,
  coalesce(kind->>'$.places[0].line', kind->>'$.places[0].function', kind->>'spawned_at') AS place,
  kind->>'$.places[0].syscall.name' AS call,
  kind->>'cause' AS cause,
  kind->>'spawned_at' AS spawned_at,
  kind->>'task_name' AS task
FROM lines
WHERE kind IS NOT NULL;

CREATE OR REPLACE VIEW slow_polls AS
WITH polls AS (
  SELECT
    filename,
    (slow_poll->>'kind')::BIGINT AS kind,
    (slow_poll->>'start_ns')::BIGINT AS start_ns,
    (slow_poll->>'duration_ns')::BIGINT AS duration_ns,
    slow_poll->>'$.span.trace_id' AS trace_id,
    (slow_poll->>'$.blame.tasks')::BIGINT AS tasks_that_waited,
    (slow_poll->>'$.blame.wait_ns')::BIGINT AS wait_ns
  FROM lines
  WHERE slow_poll IS NOT NULL
)
SELECT
  files.*,
  polls.* EXCLUDE (filename, kind),
  kinds.* EXCLUDE (filename, kind),
  started_at + to_microseconds(start_ns // 1000) AS began_at
FROM polls JOIN files USING (filename) JOIN kinds USING (filename, kind);

CREATE OR REPLACE VIEW intervals AS
SELECT
  files.*,
  ("interval"->>'end_ns')::BIGINT - ("interval"->>'start_ns')::BIGINT AS length_ns,
  ("interval"->>'$.polls.count')::BIGINT AS polls,
  ("interval"->>'busy_ns')::BIGINT AS busy_ns,
  ("interval"->>'slow')::BIGINT AS slow
FROM lines JOIN files USING (filename)
WHERE "interval" IS NOT NULL;

-- Who waited for whom, by spawn site, as it was written last of each run: each minute, and at the end.
CREATE OR REPLACE VIEW charges AS
WITH last AS (
  SELECT files.*, known
  FROM lines JOIN files USING (filename)
  WHERE known IS NOT NULL
  QUALIFY row_number() OVER (PARTITION BY run ORDER BY (known->>'elapsed_ns')::BIGINT DESC) = 1
), listed AS (
  SELECT
    * EXCLUDE known,
    unnest(from_json(
      known->'$.ledger.charges',
      '[{"culprit": "VARCHAR", "waiter": "VARCHAR", "tasks": "BIGINT", "wait_ns": "BIGINT", "wait_most_ns": "BIGINT"}]'
    )) AS charge
  FROM last
)
SELECT * EXCLUDE charge, charge.* FROM listed;
