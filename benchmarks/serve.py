"""A served run under load: how long an answer takes with 1, 16 and 64 clients, and whether all are right.

    moee-topics run quickstart
    python -m benchmarks.serve runs/quickstart
    python -m benchmarks.serve runs/quickstart --one-by-one

Every client sends one text after the other, each different, and waits for its answer. Each answer is compared with what
``predict`` says of all texts together; in bfloat16 a text on the border of two topics may round to the other one.
With --one-by-one the server is asked for bits that do not depend on what is asked beside, and compared with what
``predict`` says of each text alone. Writes benchmarks/results/serve.json, or serve_one_by_one.json, and prints it.
Seconds are of the whole machine, so nothing else should run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale import machine
from moee_topics.corpus import Document
from moee_topics.run import Predictor
from moee_topics.run_folder import RunFolder
from moee_topics.store import write_json

CLIENTS = (1, 16, 64)
RESULTS = Path(__file__).with_name("results")


def ask(port: int, texts: list[str]) -> list[tuple[float, dict[str, Any] | None]]:
    """One client: the seconds and the topic of each text, None where the answer was none."""
    connection, answers = http.client.HTTPConnection("127.0.0.1", port, timeout=600), []
    for text in texts:
        started = time.perf_counter()
        body = json.dumps({"documents": [text]})
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        row = found["predictions"][0] if answer.status == 200 else None
        answers.append((time.perf_counter() - started, row))
    return answers


def under_load(port: int, clients: int, texts: list[str], topics: list[int]) -> dict[str, Any]:
    """Some clients who share the texts: quantiles of their seconds, and how many answers were wrong or lost."""
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        parts = list(pool.map(lambda first: ask(port, texts[first::clients]), range(clients)))
    took = time.perf_counter() - started
    pairs = [
        (pair, topic)
        for first, part in enumerate(parts)
        for pair, topic in zip(part, topics[first::clients], strict=True)
    ]
    seconds = [pair[0] for pair, _ in pairs]
    return {
        "clients": clients,
        "requests": len(pairs),
        "p50_seconds": round(float(np.quantile(seconds, 0.5)), 3),
        "p99_seconds": round(float(np.quantile(seconds, 0.99)), 3),
        "requests_per_second": round(len(pairs) / took, 2),
        "lost": sum(pair[1] is None for pair, _ in pairs) + len(texts) - len(pairs),
        "wrong": sum(pair[1] is not None and pair[1]["topic"] != topic for pair, topic in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--requests", type=int, default=256, help="for each number of clients")
    parser.add_argument("--one-by-one", action="store_true", help="of the server: each text goes through alone")
    parser.add_argument("--output", type=Path, help="a JSON file, in benchmarks/results unless told")
    options = parser.parse_args()
    own = RunFolder.read(options.run).result.texts
    # The second half of a text is a new one, and like those of the run.
    texts = [text[len(text) // 2 :] for text in own if len(text) > 100][: options.requests]
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    together = [[document] for document in documents] if options.one_by_one else [documents]
    predictor = Predictor.load(options.run)
    topics = [row.topic for part in together for row in predictor.predict(part)]
    command = [sys.executable, "-m", "moee_topics", "serve", str(options.run), "--port", "0"]
    command += ["--one-by-one"] if options.one_by_one else []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = next(line for line in server.stderr if line.startswith("Serving at"))
        port = int(address.split()[2].rpartition(":")[2])
        rows = [under_load(port, clients, texts, topics) for clients in CLIENTS]
        server.terminate()
    packages = {name: version(name) for name in ("fastapi", "uvicorn", "torch")}
    characters = round(sum(map(len, texts)) / len(texts))
    output = options.output or RESULTS / ("serve_one_by_one.json" if options.one_by_one else "serve.json")
    write_json(output, {"machine": machine(), "packages": packages, "characters": characters, "rows": rows})
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
