"""The routes of a server, and the batches of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from moee_topics import __version__
from moee_topics.embed import DOCUMENTS_PER_CALL
from moee_topics.errors import InputError, MoEETopicsError
from moee_topics.messages import shortened
from moee_topics.run import PredictedTopic
from moee_topics.run_folder import RunFolder
from moee_topics.serve.batcher import Batcher, Busy
from moee_topics.serve.guards import BodyGuard, TokenGuard, refusal
from moee_topics.serve.service import TopicService, TopicSummary
from moee_topics.serve.settings import ServeSettings

Vectors = Batcher[str, NDArray[np.float32]]
BODY = '{"documents": ["a text", {"id": "a", "text": "another"}]}'
LOCAL_NAMES = ["localhost", "127.0.0.1", "[::1]"]


class NewDocument(BaseModel):
    """A text to be given a topic; without an id it is called by its place, from 1."""

    model_config = ConfigDict(extra="forbid")

    text: str
    id: str | None = None


class Documents(BaseModel):
    """The body of a request for topics: texts, or texts with ids."""

    model_config = ConfigDict(extra="forbid")

    documents: Annotated[list[NewDocument | str], Field(min_length=1)]

    def pairs(self) -> list[tuple[str, str]]:
        """(id, text) of each."""
        given = [NewDocument(text=item) if isinstance(item, str) else item for item in self.documents]
        return [(item.id or str(place), item.text) for place, item in enumerate(given, 1)]


class Predictions(BaseModel):
    """A topic for each document that has a text, in their order, and the ids of the others."""

    predictions: list[PredictedTopic]
    without_text: list[str]


def asgi_application(service: TopicService, settings: ServeSettings) -> FastAPI:
    """The application of a run, for any ASGI server."""
    vectors = service.vectors_one_by_one if settings.one_by_one else service.vectors
    batcher = Batcher(vectors, at_once=DOCUMENTS_PER_CALL, waiting=settings.queue)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(batcher.work())
        yield
        worker.cancel()

    # Without its own pages of documentation, whose scripts come from another host.
    app = FastAPI(title="moee_topics", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_pages(app, service, batcher)
    _add_questions(app, service, batcher, settings)
    _add_errors(app)
    app.add_middleware(BodyGuard, settings=settings)
    if settings.token is not None:
        app.add_middleware(TokenGuard, token=settings.token)
    else:
        # A page of the web may make its own name mean this machine, and would then read what a browser here reads.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOCAL_NAMES)
    return app


def _add_pages(app: FastAPI, service: TopicService, batcher: Vectors) -> None:
    """What needs no model: the report, the topics, and how the server is."""

    @app.get("/", include_in_schema=False)
    async def report() -> Response:
        run = service.run.root  # where the page of every version lies
        if not RunFolder.report.exists(run):
            return refusal(404, f"This run has no report. Write one with: moee-topics report {run.path.name}")
        return FileResponse(RunFolder.report.path(run), media_type="text/html")

    @app.get("/health")
    async def health() -> dict[str, str | int]:
        """Whether it answers, which run it serves, and how many documents wait."""
        return {"status": "ok", "run": service.run.name, "version": __version__, "waiting": batcher.waiting}

    @app.get("/topics")
    async def topics() -> list[TopicSummary]:
        """All topics, the largest first."""
        return service.topics()

    @app.get("/topics/{number}")
    async def topic(number: int) -> Any:
        """One topic with the weights of its words and the documents that stand for it."""
        return service.topic(number) or refusal(404, f"There is no topic {number}. GET /topics lists them.")


def _add_questions(app: FastAPI, service: TopicService, batcher: Vectors, settings: ServeSettings) -> None:
    """What needs the model: topics of new documents, and what is nearest to a text."""

    @app.post("/predict")
    async def predict(body: Documents) -> Predictions:
        """The topic of each document."""
        if len(body.documents) > settings.per_request:
            raise InputError(
                f"{len(body.documents):,} documents, at most {settings.per_request:,} are taken in one request."
            )
        pairs = body.pairs()
        read = await asyncio.to_thread(service.documents, pairs)
        documents = [document for document in read if document is not None]
        empty = [name for (name, _), document in zip(pairs, read, strict=True) if document is None]
        if not documents:
            return Predictions(predictions=[], without_text=empty)
        vectors = await batcher.ask([document.text for document in documents])
        topics = await asyncio.to_thread(service.topics_of, documents, vectors)
        return Predictions(predictions=topics, without_text=empty)

    @app.get("/search")
    async def search(
        text: Annotated[str, Query(pattern=r"\S", max_length=10_000)], most: Annotated[int, Query(ge=1, le=100)] = 10
    ) -> Any:
        """The documents and the topics that are nearest to a text, by cosine."""
        text = await asyncio.to_thread(service.searcher.read, text)
        (vector,) = await batcher.ask([text])
        return await asyncio.to_thread(service.nearest, text, vector, most)


def _add_errors(app: FastAPI) -> None:
    """Every answer that is an error has one form."""

    @app.exception_handler(MoEETopicsError)
    async def ours(_: Request, error: Exception) -> JSONResponse:
        kind, status = type(error).__name__, 422 if isinstance(error, InputError) else 500
        return JSONResponse({"error": {"kind": kind, "message": str(error)}}, status)

    @app.exception_handler(Busy)
    async def busy(_: Request, __: Exception) -> JSONResponse:
        return refusal(503, "Too many documents are waiting. Come again.", {"Retry-After": "5"})

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        of_status = {
            400: "The body cannot be read: it is no JSON in UTF-8, or lists are nested too deeply.",
            404: f"There is nothing at {shortened(request.url.path)}. GET /openapi.json says what there is.",
            405: f"{request.url.path} takes no {request.method}. GET /openapi.json says what it takes.",
        }
        message = of_status.get(error.status_code, str(error.detail))
        return refusal(error.status_code, message, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        if first["loc"][0] != "body":
            return refusal(422, f"{why}.")
        if "json" not in request.headers.get("content-type", ""):
            # Asked for, since a page of the web may send a form anywhere, and JSON only where it is allowed to.
            why = "the header Content-Type is not application/json"
        elif first["type"] == "json_invalid":
            why = f"it is no JSON ({first['ctx']['error']} at character {first['loc'][1]:,})"
        return refusal(422, f"The body cannot be read: {why}. Expected {BODY}.")
