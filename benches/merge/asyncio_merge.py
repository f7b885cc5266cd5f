"""The offloaded merge, line by line, on asyncio: what `cargo bench --bench merge` compares with.

A line is read off the loop, and written by a thread that runs an event loop of its own. Run as
`asyncio_merge.py OUTPUT INPUT…`; the inputs are complete, and each tail ends where its file does.
"""

import asyncio
import sys
import threading


class Handle:
    def __init__(self, path):
        self.file = open(path, "rb")

    def readline(self):
        offset = self.file.tell()
        line = self.file.readline()
        if not line.endswith(b"\n"):
            self.file.seek(offset)
            return None
        return line


class Writer:
    """A thread that owns the output and runs a loop of its own."""

    def __init__(self, path):
        self.path = path
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.file = open(self.path, "xb", buffering=0)
        self.loop.call_soon(self.ready.set)
        self.loop.run_forever()
        self.file.close()

    async def __aenter__(self):
        def start():
            self.thread.start()
            self.ready.wait()

        await asyncio.to_thread(start)
        return self

    async def __aexit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        await asyncio.to_thread(self.thread.join)

    async def _write(self, line):
        left = memoryview(line)
        while left:
            left = left[self.file.write(left) :]

    async def write(self, line):
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._write(line), self.loop))


async def tail(handle, write):
    while (line := await asyncio.to_thread(handle.readline)) is not None:
        await write(line)


async def merge(output, inputs):
    async with Writer(output) as writer:
        await asyncio.gather(*(tail(Handle(path), writer.write) for path in inputs))


asyncio.run(merge(sys.argv[1], sys.argv[2:]))
