"""What one API process and its workers bear: readers of verdict pages, and uploads.

    python benchmarks/service_load.py --database postgresql://... --data FOLDER

Starts the service, in `--processes` that share the database, and two workers, then (1) 200
readers, each opening a verdict's page every `--pause` seconds, while audits run; the first
`--warm` seconds, in which connections are opened and pages drawn, are told apart; (2) `--rate`
uploads of 1 MB a second, whatever the answers take, and (3) what an audit that only reads takes of
a processor. Prints a line of JSON for each,
with the load average of the machine. The load comes from the same machine, so times of answers are
upper bounds; times of the processor are the service's own.
"""

import argparse
import asyncio
import io
import itertools
import json
import os
import random
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2


def record(number: int, size: int) -> bytes:
    """A record folder of which `size` bytes do not compress."""
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as archive:
        archive.writestr("record/train_gpt.py", "print('val_bpb:1.2')\n")
        archive.writestr("record/submission.json", '{"val_bpb": 1.2}')
        archive.writestr("record/model.bin", random.Random(number).randbytes(size))
    return kept.getvalue()


async def upload_of(client: httpx2.AsyncClient, number: int, size: int) -> httpx2.Request:
    """The request, with its body made."""
    files = {"archive": ("record.zip", record(number, size))}
    request = client.build_request("POST", "/v1/audits", files=files, data={"run": "false"})
    await request.aread()
    return request


async def hand_in(client: httpx2.AsyncClient, request: httpx2.Request) -> tuple[int, float]:
    """Status, seconds."""
    began = time.perf_counter()
    try:
        answer = await client.send(request)
    except httpx2.HTTPError:
        return 0, time.perf_counter() - began
    return answer.status_code, time.perf_counter() - began


async def verdict_pages(client: httpx2.AsyncClient, wanted: int) -> list[str]:
    """The pages of some finished audits."""
    for number in range(wanted):
        await hand_in(client, await upload_of(client, number, 1_000))
    while True:
        listed = (await client.get("/v1/verdicts")).json()["items"]
        if len(listed) >= wanted:
            return [each["links"]["page"] for each in listed]
        await asyncio.sleep(0.5)


async def read(
    client: httpx2.AsyncClient, pages: list[str], readers: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """All readers at once; each page is asked for at a moment of its own."""
    pause, seconds = arguments.pause, arguments.seconds
    first: list[float] = []
    taken: list[float] = []
    codes: Counter[int] = Counter()
    warm = time.perf_counter() + arguments.warm
    until = warm + seconds

    async def reader(number: int) -> None:
        chance = random.Random(number)
        await asyncio.sleep(chance.uniform(0, pause))
        while time.perf_counter() < until:
            began = time.perf_counter()
            try:
                answer = await client.get(chance.choice(pages), headers={"accept": "text/html"})
                codes[answer.status_code] += 1
            except httpx2.HTTPError:
                codes[0] += 1
            (taken if began > warm else first).append(time.perf_counter() - began)
            await asyncio.sleep(chance.uniform(0.5, 1.5) * pause)

    await asyncio.gather(*(reader(number) for number in range(readers)))
    return {
        "codes": dict(codes),
        "requests_per_second": len(taken) / seconds,
        **spread(taken),
        "while_warming": spread(first),
    }


async def upload(client: httpx2.AsyncClient, rate: float, seconds: float) -> dict[str, Any]:
    """One upload every 1/rate seconds, without waiting for the answers."""
    # Made before the clock runs: to make one costs half of what the service does with it.
    numbers = range(10_000, 10_000 + round(rate * seconds))
    requests = [await upload_of(client, number, 1_000_000) for number in numbers]
    tasks = []
    began = time.perf_counter()
    for number, request in enumerate(requests):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(hand_in(client, request)))
    answers = await asyncio.gather(*tasks)
    codes = Counter(code for code, _ in answers)
    whole = time.perf_counter() - began
    taken = [seconds for _, seconds in answers]
    return {"codes": dict(codes), "uploads_per_second": len(answers) / whole, **spread(taken)}


def spread(taken: list[float]) -> dict[str, float]:
    """Percentiles in milliseconds."""
    ordered = sorted(taken)
    return {
        f"p{percent}_milliseconds": round(1000 * ordered[int(len(ordered) * percent / 100)], 1)
        for percent in (50, 95, 99)
    }


def processor_seconds(*processes: subprocess.Popen[bytes]) -> float:
    """What processes and their ended children have taken so far (Linux)."""
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


async def measure(
    arguments: argparse.Namespace,
    apis: list[subprocess.Popen[bytes]],
    workers: list[subprocess.Popen[bytes]],
) -> None:
    """All loads, one after the other."""
    limits = httpx2.Limits(max_connections=400, max_keepalive_connections=400, keepalive_expiry=60)
    ports = itertools.cycle(range(arguments.port, arguments.port + arguments.processes))

    async def spread_out(request: httpx2.Request) -> None:
        request.url = request.url.copy_with(port=next(ports))

    address = f"http://127.0.0.1:{arguments.port}"
    async with httpx2.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        # Not a browser: a page's cookie would ask for the token of its form.
        client.event_hooks = {"request": [spread_out], "response": [lambda _: forget(client)]}
        pages = await verdict_pages(client, 10)
        for number in range(20):
            code, _ = await hand_in(client, await upload_of(client, 1_000 + number, 10_000))
            assert code == 202
        began = processor_seconds(*apis)
        readers = await read(client, pages, 200, arguments)
        after = processor_seconds(*apis)
        readers["processor_milliseconds"] = cost(after - began, sum(readers["codes"].values()))
        tell("readers", readers)
        uploads = await upload(client, arguments.rate, arguments.seconds / 2)
        taken = processor_seconds(*apis) - after
        uploads["processor_milliseconds"] = cost(taken, sum(uploads["codes"].values()))
        tell("uploads", uploads)
        tell("audits", await ten_audits(client, workers))


def tell(what: str, figures: dict[str, Any]) -> None:
    """One line, at once: what follows may take long."""
    line = {"what": what, **figures, "load_average": round(os.getloadavg()[0], 1)}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


async def forget(client: httpx2.AsyncClient) -> None:
    """Keep no cookie."""
    client.cookies.clear()


def cost(seconds: float, requests: int) -> float:
    """Milliseconds for each request."""
    return round(1000 * seconds / max(1, requests), 1)


async def ten_audits(
    client: httpx2.AsyncClient, workers: list[subprocess.Popen[bytes]]
) -> dict[str, Any]:
    """What ten more audits take of a processor, once nothing else waits."""
    await quiet(client)
    began = processor_seconds(*workers)
    for number in range(10):
        await hand_in(client, await upload_of(client, 50_000 + number, 10_000))
    await quiet(client)
    return {"processor_milliseconds": cost(processor_seconds(*workers) - began, 10)}


async def quiet(client: httpx2.AsyncClient) -> None:
    """Until nothing waits or runs."""
    for state in ("queued", "running") * 2:
        while (await client.get("/v1/audits", params={"state": state})).json()["items"]:
            await asyncio.sleep(0.5)


def main() -> None:
    """Start everything, measure, stop everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--warm", type=float, default=5)
    parser.add_argument("--pause", type=float, default=5)
    parser.add_argument("--rate", type=float, default=50)
    arguments = parser.parse_args()
    common = ["--database", arguments.database, "--data", str(arguments.data)]
    environment = {**os.environ, "STRICT_PREFIX_WORKERS": "0"}
    ports = range(arguments.port, arguments.port + arguments.processes)
    apis = []
    for port in ports:
        apis.append(
            subprocess.Popen(
                [sys.executable, "-m", "api", "--port", str(port), *common],
                env=environment,
                stderr=subprocess.DEVNULL,
            )
        )
        wait_until_ready(port)
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "api", "worker", *common], stderr=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    try:
        asyncio.run(measure(arguments, apis, workers))
    finally:
        for process in (*apis, *workers):
            process.terminate()
        for process in (*apis, *workers):
            process.wait()


def wait_until_ready(port: int) -> None:
    """Ask until the service says that it is."""
    for _ in range(600):
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.1)
    raise SystemExit("the service did not start")


if __name__ == "__main__":
    main()
