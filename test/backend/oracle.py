"""Real Celery on a SQLite file of its own: one JSON request on stdin, one JSON answer on stdout.

    {"command": "dumps", "literals": [...]}    pickles of protocol 5, in hex, of Python literals
    {"command": "json", "literals": [...]}     what kombu makes of them, as text
    {"command": "read", "settings": {...}, "tasks": [{"id", "status", "result", "args"}], "groups": [{"id", "result"}]}
                                               what Celery makes of rows with these bytes, given in hex
    {"command": "write", "settings": {...}}    the bytes of rows that Celery writes, in hex
"""

import ast
import json
import os
import pickle
import sys
import tempfile

import celery.exceptions
from celery import Celery
from celery.result import AsyncResult, GroupResult
from kombu.utils.json import dumps as kombu_dumps
from sqlalchemy import create_engine, text

REQUEST = json.loads(sys.stdin.read())
DIRECTORY = tempfile.TemporaryDirectory()
URL = 'sqlite:///' + os.path.join(DIRECTORY.name, 'results.db')


def new_app():
    app = Celery('oracle', backend='db+' + URL)
    app.conf.update({'result_extended': True, 'accept_content': ['json', 'pickle'], **REQUEST.get('settings', {})})
    app.backend.ResultSession().close()
    return app


def execute(statement, **values):
    engine = create_engine(URL)
    with engine.begin() as connection:
        rows = connection.execute(text(statement), values)
        answer = rows.fetchall() if rows.returns_rows else None
    engine.dispose()
    return answer


def to_bytes(digits):
    return None if digits is None else bytes.fromhex(digits)


def of_exception(error):
    return [type(error).__module__, type(error).__name__, repr(error.args)]


def of_task(app, task):
    execute('INSERT INTO celery_taskmeta (task_id, status, result, args) VALUES (:id, :status, :result, :args)',
            id=task['id'], status=task['status'], result=to_bytes(task['result']), args=to_bytes(task.get('args')))
    result = app.AsyncResult(task['id'])
    value = result.result
    told = of_exception(value) if isinstance(value, BaseException) else repr(value)
    return {'state': result.state, 'result': told, 'args': repr(result.args)}


def of_member(member):
    if member is None:
        return None
    told = {'id': member.id, 'parent': of_member(member.parent)}
    if isinstance(member, GroupResult):
        told['children'] = [of_member(child) for child in member.results]
    return told


def of_group(app, group):
    execute('INSERT INTO celery_tasksetmeta (taskset_id, result) VALUES (:id, :result)',
            id=group['id'], result=to_bytes(group['result']))
    restored = app.GroupResult.restore(group['id'])
    isOwn = all(member.backend is app.backend for member in restored.results)
    return {**of_member(restored), 'class': type(restored).__name__, 'hasBackendOfReader': isOwn}


def read():
    app = new_app()
    return {
        'tasks': [of_task(app, task) for task in REQUEST.get('tasks', [])],
        'groups': [of_group(app, group) for group in REQUEST.get('groups', [])],
    }


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(one)
        self.lock = two


def write():
    app = new_app()
    backend = app.backend
    request = type('Request', (), dict(
        task='shop.add', args=[1, 'é'], kwargs={'y': None}, hostname='w@h', retries=0, delivery_info={},
        group=None, parent_id=None, stamps=None, stamped_headers=None, chord=None))()
    backend.store_result('value', {'a': (1, 2.5, None), 'b': {3}}, 'SUCCESS', request=request)
    backend.store_result('failure', ValueError('bad', 1, {2}), 'FAILURE', traceback='Traceback …')
    backend.store_result('custom', Unpicklable('one', open(os.devnull)), 'FAILURE')
    backend.store_result('revoked', celery.exceptions.TaskRevokedError('terminated'), 'REVOKED')
    backend.store_result('nested', AsyncResult('inner', parent=AsyncResult('outer')), 'SUCCESS')
    app.GroupResult('by-app', [app.AsyncResult('a', parent=app.AsyncResult('p')), app.AsyncResult('b')]).save()
    GroupResult('by-class', [AsyncResult('a'), GroupResult('inner', [AsyncResult('b')])]).save()
    tasks = execute('SELECT task_id, status, result, traceback, args, kwargs FROM celery_taskmeta')
    groups = execute('SELECT taskset_id, result FROM celery_tasksetmeta')
    return {
        'tasks': {row[0]: {'status': row[1], 'result': row[2].hex(), 'traceback': row[3],
                           'args': row[4] and row[4].hex(), 'kwargs': row[5] and row[5].hex()} for row in tasks},
        'groups': {row[0]: row[1].hex() for row in groups},
    }


def literals():
    return [ast.literal_eval(literal) for literal in REQUEST['literals']]


COMMANDS = {
    'dumps': lambda: [pickle.dumps(value, 5).hex() for value in literals()],
    'json': lambda: [kombu_dumps(value) for value in literals()],
    'read': read,
    'write': write,
}
print(json.dumps(COMMANDS[REQUEST['command']]()))
