-- Before and after a deploy: each build of a service, in the order in which they came. What was not counted is NULL.
WITH of_intervals AS (
  SELECT
    service,
    build,
    min(started_at) AS first_started,
    uniqExact(run) AS runs,
    sum(length_ns) AS length_ns,
    sum(polls) AS polls,
    sum(busy_ns) AS busy_ns
  FROM intervals
  GROUP BY service, build
), of_slow_polls AS (
  SELECT service, build, count() AS slow_polls, sum(duration_ns) AS blocked_ns, max(duration_ns) AS worst_ns
  FROM slow_polls
  GROUP BY service, build
)
SELECT
  service,
  build,
  first_started,
  runs,
  polls,
  busy_ns,
  slow_polls,
  blocked_ns,
  nullIf(worst_ns, 0) AS worst_ns,
  round(slow_polls * 3.6e12 / length_ns, 2) AS slow_polls_per_hour_and_process,
  round(100.0 * blocked_ns / length_ns, 3) AS blocked_percent_of_the_time
FROM of_intervals LEFT JOIN of_slow_polls USING (service, build)
ORDER BY service, first_started;
