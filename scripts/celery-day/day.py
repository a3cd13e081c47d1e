"""A day of a shop in Celery: its 20 tasks, for `celery -A day worker`, and what it sends, by `python3 day.py NUMBER`.

`DAY_BROKER` and `DAY_BACKEND` say where. Sends NUMBER messages, waits until workers have them all, and prints what is worth a look, in JSON.
"""

import json
import os
import random
import sys
import time
import uuid
from datetime import datetime
from decimal import Decimal

from celery import Celery, chain, chord, group
from celery.exceptions import Ignore

app = Celery('shop', broker=os.environ['DAY_BROKER'], backend=os.environ['DAY_BACKEND'])
app.conf.update(
    result_extended=True,
    task_track_started=True,
    result_chord_retry_interval=0.2,
    worker_prefetch_multiplier=8,
    broker_connection_retry_on_startup=True,
    task_routes={'mail.*': 'mail', 'report.*': 'reports', 'image.*': 'reports'},
)


class OutOfStock(Exception):
    pass


class CardDeclined(Exception):
    """Takes more than it passes on: Celery's worker cannot pickle it."""

    def __init__(self, card, reason):
        super().__init__('%s was declined: %s' % (card, reason))


def progress(task, steps):
    for done in range(1, steps + 1):
        task.update_state(state='PROGRESS', meta={'done': done, 'of': steps})


@app.task(name='order.place')
def place(order, articles):
    return {'order': order, 'articles': articles, 'total': Decimal('129.50'), 'at': datetime(2026, 11, 29, 8, 30)}


@app.task(name='order.ship')
def ship(order, carrier='DHL'):
    return {'order': order, 'carrier': carrier, 'parcels': [str(uuid.UUID(int=order)), None]}


@app.task(name='order.cancel')
def cancel(order):
    return None


@app.task(name='stock.reserve')
def reserve(article, number):
    if number > 3:
        raise OutOfStock(article, number)
    return number


@app.task(name='stock.count')
def count(articles):
    return {article: at for at, article in enumerate(articles)}


@app.task(name='payment.capture')
def capture(order, card):
    if order % 7 == 0:
        raise CardDeclined(card, 'expired')
    return {'captured': True, 'order': order}


@app.task(name='payment.refund')
def refund(order, amount):
    return Decimal(amount)


@app.task(name='mail.send', bind=True, max_retries=2)
def send_mail(self, to, subject):
    if self.request.retries < len(to) % 3:
        raise self.retry(exc=ConnectionError('smtp.example.com does not answer'), countdown=0)
    return {'to': to, 'subject': subject}


@app.task(name='mail.give_up', bind=True, max_retries=1)
def give_up(self, to):
    raise self.retry(exc=ConnectionError('smtp.example.com does not answer'), countdown=0)


@app.task(name='mail.newsletter', bind=True)
def newsletter(self, readers):
    progress(self, 3)
    return {'sent': readers, 'greeting': 'Grüße, 你好, שלום, 🎉'}


@app.task(name='report.daily', bind=True)
def daily(self, day):
    progress(self, 4)
    return {'day': day, 'rows': [[at, 'article-%d' % at, at * 1.5] for at in range(1500)]}


@app.task(name='report.export')
def export(size):
    return bytes(random.Random(size).randbytes(size))


@app.task(name='image.resize')
def resize(path, width):
    if width <= 0:
        raise ValueError('A width of %d is none' % width)
    return (path, width, width * 3 // 4)


@app.task(name='image.thumbnail')
def thumbnail(path):
    return {'path': path, 'sizes': {64, 128, 256}}


@app.task(name='search.index')
def index(words):
    return {at: word for at, word in enumerate(words)}


@app.task(name='search.query')
def query(text):
    return [text, len(text), text.upper()]


@app.task(name='user.greet')
def greet(name):
    return 'Hej %s \N{WAVING HAND SIGN}' % name


@app.task(name='session.expire')
def expire(_session):
    raise Ignore()


@app.task(name='math.add')
def add(one, other):
    return one + other


@app.task(name='math.total')
def total(numbers):
    return sum(numbers)


def messages(at):
    """What is sent, by its weight."""
    names = ['Åsa', 'Zoë', 'Иван', '太郎', 'O\'Brien', '👩‍🔬']
    name = names[at % len(names)]
    kinds = {
        20: lambda: place.s(at, ['chair', 'table'][: at % 3]),
        12: lambda: ship.s(at).set(countdown=0),
        4: lambda: cancel.s(at),
        9: lambda: reserve.s('chair', at % 5),
        3: lambda: count.s(['chair', 'стол', '机']),
        10: lambda: capture.s(at, 'amex'),
        5: lambda: refund.s(at, '19.%02d' % (at % 100)),
        11: lambda: send_mail.s(name + '@example.com', 'Your order %d' % at),
        2: lambda: give_up.s(name + '@example.com'),
        1: lambda: newsletter.s(at),
        0.5: lambda: daily.s('2026-11-%02d' % (at % 28 + 1)),
        0.4: lambda: export.s(20_000),
        6: lambda: resize.s('/img/%d.png' % at, at % 20),
        3.5: lambda: thumbnail.s('/img/%d.png' % at),
        7: lambda: index.s(['chair', name]),
        6.5: lambda: query.s(name),
        8: lambda: greet.s(name),
        1.5: lambda: expire.s(at),
        2.5: lambda: revoked(ship.s(at)),
        1.2: lambda: chain(add.s(at, 1), add.s(2), add.s(3)),
        0.8: lambda: chain(resize.s('/img/x.png', 0), thumbnail.s()),
        0.6: lambda: group(add.s(at, each) for each in range(4)),
        0.3: lambda: chord([add.s(at, each) for each in range(3)], total.s()),
    }
    # One of each first, however few are sent.
    return (list(kinds.values())[at] if at < len(kinds) else random.choices(list(kinds.values()), list(kinds))[0])()


def revoked(signature):
    """Told to the workers before they get the task, or nearly so. One that has expired RabbitMQ throws away if they are busy."""
    task_id = str(uuid.uuid4())
    app.control.revoke(task_id)
    return signature.set(task_id=task_id)


def ids_of(result):
    while result is not None:
        for member in getattr(result, 'results', None) or [result]:
            yield member.id
        result = result.parent


def send(number):
    random.seed(18)
    ids, groups = set(), []
    for at in range(number):
        result = messages(at).apply_async()
        if hasattr(result, 'save'):
            result.save()
            groups.append(result.id)
        if getattr(result, 'name', None) is None:
            ids.update(ids_of(result))
    return ids, groups


def wait_for_workers():
    """Until no message waits; what workers have fetched may still run."""
    with app.connection() as connection:
        def waiting(queue):
            return connection.default_channel.queue_declare(queue, passive=True).message_count

        while any(waiting(queue) for queue in ('celery', 'mail', 'reports')):
            time.sleep(0.5)


if __name__ == '__main__':
    while not app.control.ping(timeout=1):
        pass
    started = time.time()
    sent, groups = send(int(sys.argv[1]))
    wait_for_workers()
    print(json.dumps({'sent': len(sent), 'groups': groups, 'seconds': round(time.time() - started, 1)}))
