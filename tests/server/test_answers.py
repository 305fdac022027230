"""Answers are written by the threads that make them, once, and are described as they are."""

import threading

from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, model_validator
from server.conftest import files

from mbv1_backbone.server.answers import WrittenRoute


class Answer(BaseModel):
    """Counts how often it is checked."""

    value: float
    thread: int

    @model_validator(mode='wrap')
    @classmethod
    def _count(cls, value, handler):
        checks.append(threading.get_ident())
        return handler(value)

    def model_dump_json(self, **options):
        written.append(threading.get_ident())
        return super().model_dump_json(**options)


checks: list[int] = []
written: list[int] = []


def test_an_answer_is_checked_and_written_once_in_its_own_thread():
    router = APIRouter(route_class=WrittenRoute)

    @router.get('/made', status_code=201)
    def made() -> Answer:
        return Answer(value=float('nan'), thread=threading.get_ident())

    app = FastAPI()
    app.include_router(router)
    with TestClient(app) as client:
        answer = client.get('/made')
        described = client.get('/openapi.json').json()['paths']['/made']['get']['responses']['201']
    assert (answer.status_code, answer.headers['content-type']) == (201, 'application/json')
    assert answer.json()['value'] is None
    assert checks == written == [answer.json()['thread']]
    assert described['content']['application/json']['schema'] == {'$ref': '#/components/schemas/Answer'}


def test_every_route_of_the_service_describes_what_it_answers(web, drawn):
    paths = web.get('/v1/openapi.json').json()['paths']
    made = {
        path
        for path, methods in paths.items()
        for told in methods.values()
        for kind, content in next(iter(told['responses'].values())).get('content', {}).items()
        if kind == 'application/json' and '$ref' in content['schema']
    }
    assert {'/v1/detect', '/v1/embed', '/v1/faces/search', '/v1/faces/enrol', '/v1/faces/backup'} <= made
    answer = web.post('/v1/embed', files=files(drawn['person_a'][0]))
    assert answer.headers['content-type'] == 'application/json'
