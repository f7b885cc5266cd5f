"""The storm of yields for asyncio: `asyncio_storm.py asyncio|asyncio-debug yield-1 POLLS`.

It prints what the Rust programs print. A poll is here what asyncio calls a callback: one step of a task.
"""

import asyncio
import sys
import time

YIELDERS = 100


async def storm(units: int) -> int:
    yields = units // YIELDERS - 1

    async def yielder() -> int:
        steps = 1
        for _ in range(yields):
            await asyncio.sleep(0)
            steps += 1
        return steps

    return sum(await asyncio.gather(*(yielder() for _ in range(YIELDERS))))


async def main(debug: bool, units: int) -> None:
    assert asyncio.get_running_loop().get_debug() == debug, "the debug mode is not what was asked for"
    polls = await storm(units)
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    measured = await storm(units)
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    print(f"storm ns={wall / measured} cpu_ns={cpu / measured} units={measured}")
    print(f"done tasks={2 * YIELDERS} polls={polls + measured} seen=Present")


if __name__ == "__main__":
    name, load, units = sys.argv[1:]
    assert load == "yield-1", "asyncio has one loop"
    debug = {"asyncio": False, "asyncio-debug": True}[name]
    asyncio.run(main(debug, int(units)), debug=debug)
