#!/usr/bin/env python3
"""How many lines who follows a busy log loses: GNU tail, and the merge.

    cargo build --release && python3 tests/peers/tail_rotation.py target/release/pollscope

A writer appends 30,000 lines, about 7,000 a second, each with a write of its own. Every 0.4 s its file is rotated as logrotate does
it: `rename` gives it the name `log.1` and makes a new one; `copytruncate` copies it to `log.1` and cuts it, while the writer
goes on. Printed: the lines lost in each of four runs, and what else is wrong.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

LINES, RATE, EVERY, RUNS = 30_000, 7_000, 0.4, 4


def shift(path):
    for number in range(20, 0, -1):
        if os.path.exists(f"{path}.{number}"):
            os.rename(f"{path}.{number}", f"{path}.{number + 1}")


def write(path, rotation):
    log = open(path, "ab", buffering=0)
    start, rotations, copying = time.monotonic(), 0, None
    for number in range(LINES):
        log.write(f"line {number}\n".encode())
        while time.monotonic() - start < number / RATE:
            time.sleep(0.001)
        if time.monotonic() - start > EVERY * (rotations + 1):
            rotations += 1
            shift(path)
            if rotation == "rename":
                os.rename(path, path + ".1")
                log.close()
                log = open(path, "ab", buffering=0)
            else:
                # In a process of its own, or it would hold up the writer.
                copying = subprocess.Popen(["sh", "-c", 'cp "$0" "$0.1" && : > "$0"', path])
    if copying:
        copying.wait()


def run(command, rotation):
    with tempfile.TemporaryDirectory() as folder:
        path, out = os.path.join(folder, "log"), os.path.join(folder, "out")
        open(path, "w").close()
        is_merge = "merge" in command
        args = [part.format(log=path, out=out) for part in command]
        with open(os.devnull if is_merge else out, "wb") as stdout:
            follower = subprocess.Popen(args, stdout=stdout, stderr=subprocess.DEVNULL)
            while is_merge and not os.path.exists(out):
                time.sleep(0.01)
            time.sleep(0.5)
            write(path, rotation)
            # Far more than anyone's interval.
            time.sleep(3)
            follower.send_signal(signal.SIGTERM)
            follower.wait()
        lines = open(out, "rb").read().split(b"\n")[:-1]
    expected = [f"line {number}".encode() for number in range(LINES)]
    found = set(lines)
    lost = sum(line not in found for line in expected)
    wrong = len(found.difference(expected))
    again = len(lines) - len(found)
    return lost, again, wrong, follower.returncode


def main():
    program = shutil.which(sys.argv[1]) or sys.argv[1]
    merge = [program, "merge", "--follow", "{log}", "-o", "{out}", "--watch"]
    # By default it looks once a second, and whether the name is another file's when five looks found nothing new.
    polling = ["tail", "-n", "+1", "-F", "---disable-inotify"]
    followers = {
        "tail -F": ["tail", "-n", "+1", "-F", "{log}"],
        "tail -F, polling": [*polling, "{log}"],
        "tail -F, polling, at its most eager": [*polling, "-s", "0.1", "--max-unchanged-stats=1", "{log}"],
        "pollscope merge --follow --watch inotify": [*merge, "inotify"],
        "pollscope merge --follow --watch poll": [*merge, "poll"],
    }
    for rotation in ("rename", "copytruncate"):
        for name, command in followers.items():
            results = [None] * RUNS

            def one(index):
                results[index] = run(command, rotation)

            # Two at a time: neither is short of a CPU on a machine with four.
            for pair in range(0, RUNS, 2):
                threads = [threading.Thread(target=one, args=(index,)) for index in (pair, pair + 1)]
                [thread.start() for thread in threads]
                [thread.join() for thread in threads]
            lost, again, wrong, codes = zip(*results)
            print(f"{rotation:13} {name:41} lost {lost} again {again} torn {wrong} exit {codes}", flush=True)


main()
