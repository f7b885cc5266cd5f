-- The places that block the loops of all hosts most.
SELECT
  service,
  place,
  cause,
  call,
  count(*) AS slow_polls,
  count(DISTINCT host) AS hosts,
  sum(duration_ns)::BIGINT AS blocked_ns,
  max(duration_ns) AS worst_ns
FROM slow_polls
GROUP BY ALL
ORDER BY blocked_ns DESC, service, place
LIMIT 100;
