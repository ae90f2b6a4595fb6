"""A finished run over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from moee_topics.cli.options import Offline, Quiet, RunPath, command
from moee_topics.serve import ServeSettings


@command("moee-topics serve runs/quickstart")
def serve(
    run: RunPath,
    settings: ServeSettings,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:0 [default: the run's].")] = None,
    offline: Offline = False,
    quiet: Quiet = False,
) -> None:
    """Answer over HTTP: topics of new documents, the report at /.

    POST /predict takes {"documents": ["a text", {"id": "a", "text": "another"}]}. GET /search?text=…, /topics,
    /topics/3 and /health answer too. Requests that come at the same time go through the model together.
    """
    from moee_topics.serve import serve as serve_run

    serve_run(run, settings, device=device, ready=None if quiet else _say)


def _say(address: str) -> None:
    typer.echo(f"Serving at {address} (Ctrl-C ends it)", err=True)
