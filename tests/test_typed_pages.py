"""What the pages of the site tell to type works: every block of every page, in its order, with a tiny model."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from unittest import mock

import pandas as pd
import pytest
import uvicorn
from bag_of_words import themed_corpus
from chat_servers import chat_server, saying
from command_line import call

from moee_topics.fuse import METHODS

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)
TYPED = sorted(page for page in DOCS.rglob("*.md") if BLOCK.search(page.read_text(encoding="utf-8")))
COLUMNS = ["id", "title", "body", "section", "day"]

# Not typed: another program, packages to install, and what takes several machines or a Ray cluster, which
# tests/distributed/test_ray_crew.py starts.
ELSEWHERE = ("embedding-atlas ", "pip install ", "#")
MACHINES = ("ssh ", "--nodes=", "--ray")
# In 60 documents with random routing weights there is no topic of twelve; of three there are enough to merge some.
SMALL = "hdbscan.min_cluster_size=3 hdbscan.min_samples=1"
POSTS = f"corpus.source=posts.csv corpus.text=body {SMALL}"
# What is typed here in the place of what a page says: fewer documents, free ports, one machine in a cluster's place.
HERE = {
    "\\\n": " ",
    "run mine.yaml": f"run mine.yaml {SMALL}",
    "compare quickstart": f"compare quickstart {SMALL}",
    "run quickstart  ": f"run quickstart {POSTS}",
    "run 20newsgroups-pocket": f"run 20newsgroups-pocket {POSTS}",
    "stability.seeds=2": f"corpus.per_package=20 {SMALL} stability.seeds=2",
    "--name growing": f"corpus.per_package=20 {SMALL} --name growing",
    "serve runs/posts": "serve runs/posts --port 0",
    "--port 8080": "--port 0",
    "curl -s": "curl -sS --fail",
    "srun moee-topics": "moee-topics",
    "rsync -a node2:store/ store-2/": "for n in 1 2 3 4; do cp -r store store-$n; done",
}


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory, tiny_olmoe: Path) -> Path:
    """Posts in files and a database, a recipe for them and a run of it, with a tiny model in the place of pocket."""
    folder = tmp_path_factory.mktemp("desk")
    texts, themes = themed_corpus(per_theme=20, noise=0)
    rows = [(f"post-{n}", " ".join(text.split()[:6]), text, theme, f"2024-{n % 12 + 1:02d}-07")
            for n, (text, theme) in enumerate(zip(texts, themes, strict=True))]  # fmt: skip
    posts = pd.DataFrame(rows, columns=COLUMNS).sample(frac=1, random_state=0)
    for name, part in (("posts", posts[:60]), ("new", posts[60:70]), ("more", posts[70:])):
        part.to_csv(folder / f"{name}.csv", index=False)
    with closing(sqlite3.connect(folder / "posts.db")) as database:
        posts.rename(columns={"section": "author"}).to_sql("posts", database, index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("moee_topics.encode.settings.POCKET", tiny_olmoe)
        patch.chdir(folder)
        asked = ["--source", "posts.csv", "--text", "body", "--label", "section", "--timestamp", "day", "--yes"]
        for words in (["init", "posts.yaml", *asked], ["run", "posts.yaml", "--name", "posts"]):
            done = call(*words)
            assert not done.exit_code, done.output
    return folder


class InTheBackground(uvicorn.Server):
    """Answers in a thread from when the command returns until the test ends."""

    running: ClassVar[list[InTheBackground]] = []

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        (own,) = (each.dup() for each in sockets or ())  # the command closes its own
        Thread(target=super().run, args=([own],), daemon=True).start()
        while not self.started:
            time.sleep(0.02)
        self.port = own.getsockname()[1]
        self.running.append(self)


@pytest.fixture
def places(desk: Path, tiny_olmoe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A desk to type at, and what stands there for the places that a page names."""
    folder = Path(shutil.copytree(desk, tmp_path / "desk"))
    shutil.copy(folder / "posts.yaml", folder / "mine.yaml")
    monkeypatch.chdir(folder)
    monkeypatch.setattr("moee_topics.encode.settings.POCKET", tiny_olmoe)
    monkeypatch.setattr(uvicorn, "Server", InTheBackground)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    with chat_server(lambda *_: saying("Orbit and puck")) as endpoint, mock.patch.dict(os.environ):
        yield HERE | {
            " 20newsgroups ": f" 20newsgroups encoder.model={tiny_olmoe} ",
            "allenai/OLMoE-1B-7B-0924": str(tiny_olmoe),
            "path/of/a/causal/model": f"{tiny_olmoe} --documents 1",
            "http://localhost:11434/v1": endpoint.base_url,
            "/shared/": f"{tmp_path}/shared/",
        }
    while InTheBackground.running:
        InTheBackground.running.pop().should_exit = True


@pytest.mark.slow
@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.stem)
def test_what_a_page_tells_to_type_works(page: Path, places: dict[str, str]) -> None:
    text = page.read_text(encoding="utf-8")
    for program in ("curl", "openssl"):
        if f"{program} " in text and shutil.which(program) is None:
            pytest.skip(f"the page needs {program}")
    if "moee-topics init posts.yaml" in text:
        Path("posts.yaml").unlink()
    if "moee-topics run mine.yaml" in text:
        shutil.rmtree("runs/posts")
    posts, new = (pd.read_csv(f"{name}.csv") for name in ("posts", "new"))
    names: dict[str, Any] = {"df": posts.assign(group=posts.section), "new": new, "documents": list(posts.body)}
    for kind, block in BLOCK.findall(text):
        for there, here in places.items():
            block = block.replace(there, here)
        if kind == "python":
            with mock.patch.dict(METHODS):  # a page adds one
                exec(block, names)
        elif not any(word in block for word in MACHINES):
            for line in filter(None, block.splitlines()):
                type_in(os.path.expandvars(line))


def type_in(line: str) -> None:
    """What a shell would do with a line, without starting Python for it."""
    if line.startswith(ELSEWHERE):
        return
    if not line.startswith("moee-topics "):
        in_a_shell(line)
        return
    command, _, file = line.partition(" > ")
    done = call(*shlex.split(command, comments=True)[1:])
    assert not done.exit_code, f"{line}\n{done.output}"
    if file:
        Path(file.partition("#")[0].strip()).write_text(done.stdout, encoding="utf-8")


def in_a_shell(line: str) -> None:
    """Runs a line of bash; what it exports holds for the lines after it, and a server is asked where it is."""
    for server in InTheBackground.running[-1:]:
        line = re.sub(r"http://[\w.]+:\d+", f"http://127.0.0.1:{server.port}", line)
    name = re.match(r"export (\w+)=", line)
    shown = f"{line}\nprintenv {name[1]}" if name else line
    done = subprocess.run(["bash", "-c", shown], check=True, stdout=subprocess.PIPE, text=True)
    if name:
        os.environ[name[1]] = done.stdout.strip()
