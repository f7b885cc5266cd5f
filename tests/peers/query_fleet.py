"""What the queries in contrib/fleet find in the recordings of a fleet, compared with what `pollscope report` reads in the same files.

Arguments: `duckdb` or `clickhouse`, the folder in which `recordings` is, the JSON of the report, contrib/fleet.
"""

import json
import os
import sys
from collections import defaultdict

engine, folder, report, queries = sys.argv[1:]
queries, report = os.path.realpath(queries), os.path.realpath(report)
os.chdir(folder)


def text(name):
    with open(os.path.join(queries, engine, f"{name}.sql"), encoding="utf-8") as file:
        return file.read()


def duckdb_rows():
    import duckdb

    connection = duckdb.connect()
    connection.execute(text("views"))

    def rows(name):
        found = connection.execute(text(name))
        columns = [column[0] for column in found.description]
        return [dict(zip(columns, row)) for row in found.fetchall()]

    return rows, f"DuckDB {duckdb.__version__}"


def clickhouse_rows():
    from chdb import session

    connection = session.Session()
    for statement in text("views").split(";\n"):
        if statement.strip():
            connection.query(statement)

    def rows(name):
        query = text(name).strip().rstrip(";")
        found = str(connection.query(f"{query} SETTINGS output_format_json_quote_64bit_integers = 0", "JSON"))
        return json.loads(found)["data"]

    return rows, "ClickHouse " + str(connection.query("SELECT version()", "TSV")).strip()


rows, version = duckdb_rows() if engine == "duckdb" else clickhouse_rows()
with open(report, encoding="utf-8") as file:
    runs = json.load(file)["runs"]
assert len(runs) > 0, "there are recordings"

places = defaultdict(lambda: [0, 0, 0])
builds = defaultdict(lambda: [0, 0, 0, 0, 0, 0])
waits = defaultdict(lambda: [0, 0])
for run in runs:
    service, build = run["group"], run["subject"]["build_id"]
    of_build = builds[service, build]
    of_build[0] += 1
    for interval in run["intervals"]:
        of_build[1] += interval["polls"]["count"]
        of_build[2] += interval["busy_ns"]
    for slow in run["slow_polls"]:
        place = slow["places"][0]
        call = place["syscall"] and place["syscall"]["name"]
        of_place = places[service, place["line"], slow["cause"], call]
        of_place[0] += 1
        of_place[1] += slow["duration_ns"]
        of_place[2] = max(of_place[2], slow["duration_ns"])
        of_build[3] += 1
        of_build[4] += slow["duration_ns"]
        of_build[5] = max(of_build[5], slow["duration_ns"])
    for charge in (run["ledger"] or {"charges": []})["charges"]:
        waits[service, charge["waiter"]][0] += charge["tasks"]
        waits[service, charge["waiter"]][1] += charge["wait_ns"]


def compare(name, found, known):
    assert len(known) > 1, f"{name}: nothing is known"
    assert found == {key: tuple(values) for key, values in known.items()}, f"{name}: {found} and {dict(known)}"


found = rows("worst_places")
assert [row["blocked_ns"] for row in found] == sorted((row["blocked_ns"] for row in found), reverse=True)
assert all(1 < row["hosts"] <= len(runs) for row in found), found
compare(
    "worst_places",
    {(row["service"], row["place"], row["cause"], row["call"]): (row["slow_polls"], row["blocked_ns"], row["worst_ns"]) for row in found},
    places,
)
found = rows("before_after")
keys = ["runs", "polls", "busy_ns", "slow_polls", "blocked_ns", "worst_ns"]
compare("before_after", {(row["service"], row["build"]): tuple(row[key] for key in keys) for row in found}, builds)
order = [(row["service"], row["build"]) for row in found]
assert order == sorted(order), f"builds in the order in which they came: {order}"
found = rows("who_waits")
compare("who_waits", {(row["service"], row["waiter"]): (row["waits"], row["wait_ns"]) for row in found}, waits)
assert all(row["mostly_for"] for row in found)
slow_polls = sum(of_place[0] for of_place in places.values())
print(f"ok: {version}: {len(runs)} recordings, {slow_polls} slow polls, three queries")
