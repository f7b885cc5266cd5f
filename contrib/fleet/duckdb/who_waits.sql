-- Who waits most for slow polls, by spawn site, and for whom.
WITH pairs AS (
  SELECT service, waiter, culprit, sum(tasks)::BIGINT AS tasks, sum(wait_ns)::BIGINT AS wait_ns
  FROM charges
  GROUP BY ALL
)
SELECT
  service,
  waiter,
  sum(tasks)::BIGINT AS waits,
  sum(wait_ns)::BIGINT AS wait_ns,
  arg_max(culprit, wait_ns) AS mostly_for
FROM pairs
GROUP BY service, waiter
ORDER BY wait_ns DESC, service, waiter
LIMIT 100;
