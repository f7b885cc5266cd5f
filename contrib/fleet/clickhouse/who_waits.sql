-- Who waits most for slow polls, by spawn site, and for whom.
WITH pairs AS (
  SELECT service, waiter, culprit, sum(charges.tasks) AS tasks, sum(charges.wait_ns) AS waited_ns
  FROM charges
  GROUP BY service, waiter, culprit
)
SELECT
  service,
  waiter,
  sum(tasks) AS waits,
  sum(waited_ns) AS wait_ns,
  argMax(culprit, waited_ns) AS mostly_for
FROM pairs
GROUP BY service, waiter
ORDER BY wait_ns DESC, service, waiter
LIMIT 100;
