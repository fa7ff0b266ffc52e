"""The webhook against a real server on this machine."""

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from reigns import NOW, day, reign

from echo_dagster.evaluation import webhook
from echo_dagster.settings import Serving

SECRET = base64.b64encode(b"a secret of twenty-four b").decode()


class Receiver:
    """A server that answers with its statuses, the last one again and again, and keeps what it was sent."""

    def __init__(self):
        self.statuses, self.received, self.wait_s = [204], [], 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                receiver.received.append(
                    (self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                )
                time.sleep(receiver.wait_s)
                status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            do_POST = do_GET = _answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/models?token=hush"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("ECHO_WEBHOOK_SECRET", raising=False)
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def settings(receiver):
    return Serving(webhook_url=receiver.url, webhook_timeout_s=2, webhook_retries=2)


@pytest.fixture
def ruled(tmp_path):
    """The base model served, and since the second day a candidate does."""
    made = reign(tmp_path)
    made.decide(0, "one", promotes=False)
    made.decide(1, "two", promotes=True)
    return made


def tell(ruled, settings, *, now=NOW, pauses=None):
    return webhook.tell(ruled.lake, settings, now, pause=(pauses if pauses is not None else []).append)


def deliveries(ruled):
    return ruled.lake.read("champion_deliveries").sort("attempted_at").collect()


def test_a_change_is_posted_as_json(ruled, settings, receiver):
    told = tell(ruled, settings)
    serves = ruled.serves()
    assert (told.is_known, told.attempts) == (True, 1)
    assert told.in_words == f"the server was told of {serves}: HTTP 204"
    ((method, path, headers, body),) = receiver.received
    assert (method, path, headers["content-type"]) == ("POST", "/models?token=hush", "application/json")
    assert headers["webhook-id"] == f"000002-{serves[:12]}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert "webhook-signature" not in headers
    message = json.loads(body)
    assert (message["type"], message["timestamp"]) == ("champion.changed", NOW.isoformat())
    assert message["data"] == {
        "model_digest": serves,
        "path": str(ruled.data_dir / "checkpoints" / str(day(1)) / "job-two" / "model"),
        "since": str(day(1)),
        "day": str(day(1)),
        "previous_digest": ruled.base.digest,
        "decision": "promoted",
        "decided_by": "gate",
        "reason": "better",
    }


def test_it_is_told_once_and_not_when_a_day_keeps(ruled, settings, receiver):
    tell(ruled, settings)
    assert tell(ruled, settings).in_words == "no change is untold"
    ruled.decide(2, "three", promotes=False)
    assert tell(ruled, settings).is_known and len(receiver.received) == 1
    ruled.override("rollback", "base")
    ruled.publish()
    tell(ruled, settings)
    data = json.loads(receiver.received[1][3])["data"]
    assert (data["decision"], data["since"], data["model_digest"]) == ("rolled_back", None, ruled.base.digest)
    assert data["decided_by"] == "Ann"


def test_the_first_model_that_ever_serves_is_no_change(tmp_path, settings, receiver):
    made = reign(tmp_path)
    made.decide(0, "one", promotes=True)
    assert tell(made, settings).is_known and receiver.received == []
    assert webhook.due(made.lake, settings, NOW) is None


def test_without_a_url_nothing_is_sent_and_nothing_is_wrong(ruled):
    told = tell(ruled, Serving())
    assert (told.is_known, told.in_words) == (True, "no webhook is configured")
    assert not ruled.lake.exists("champion_deliveries")


def test_the_signature_is_that_of_standard_webhooks(ruled, settings, receiver, monkeypatch):
    monkeypatch.setenv("ECHO_WEBHOOK_SECRET", f"whsec_{SECRET}")
    tell(ruled, settings)
    ((_, _, headers, body),) = receiver.received
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(base64.b64decode(SECRET), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_the_signature_of_a_known_message():
    # the example of the specification's reference libraries
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    made = webhook.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_that_is_none_is_told_without_being_shown(ruled, settings, monkeypatch):
    monkeypatch.setenv("ECHO_WEBHOOK_SECRET", "not base64!")
    with pytest.raises(ValueError, match="ECHO_WEBHOOK_SECRET is not base64") as refused:
        tell(ruled, settings)
    assert "not base64!" not in str(refused.value)


def test_a_server_in_trouble_is_asked_again_with_the_same_id(ruled, settings, receiver):
    receiver.statuses = [500, 429, 200]
    pauses = []
    told = tell(ruled, settings, pauses=pauses)
    assert (told.is_known, told.attempts, pauses) == (True, 3, [1.0, 2.0])
    assert len({headers["webhook-id"] for _, _, headers, _ in receiver.received}) == 1
    assert len({body for _, _, _, body in receiver.received}) == 1
    assert deliveries(ruled).select("is_delivered", "attempts", "outcome").rows() == [(True, 3, "HTTP 200")]


def test_a_server_that_stays_in_trouble_is_on_record_and_the_promotion_stands(ruled, settings, receiver):
    receiver.statuses = [503]
    before = ruled.lake.read("champion").collect()
    told = tell(ruled, settings)
    assert not told.is_known and told.in_words == f"the server does not know of {ruled.serves()}: HTTP 503"
    assert len(receiver.received) == 3
    assert deliveries(ruled).select("is_delivered", "attempts", "outcome").rows() == [(False, 3, "HTTP 503")]
    assert ruled.lake.read("champion").collect().equals(before)


@pytest.mark.parametrize("status", [302, 400, 401, 404])
def test_what_will_not_get_better_is_not_asked_again(ruled, settings, receiver, status):
    receiver.statuses = [status]
    told = tell(ruled, settings)
    assert (told.is_known, told.attempts) == (False, 1) and told.in_words.endswith(f"HTTP {status}")
    assert [method for method, *_ in receiver.received] == ["POST"]  # a redirect would have made it a GET


def test_a_server_that_is_not_there(ruled):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = taken.getsockname()[1]
        told = tell(ruled, Serving(webhook_url=f"http://127.0.0.1:{port}/hush", webhook_retries=1))
    assert (told.is_known, told.attempts) == (False, 2)
    assert told.in_words.endswith("no answer: ConnectionRefusedError") and "hush" not in told.in_words
    assert "hush" not in str(deliveries(ruled).to_dicts())


def test_a_server_that_does_not_answer_in_time(ruled, receiver):
    receiver.wait_s = 0.5
    told = tell(ruled, Serving(webhook_url=receiver.url, webhook_timeout_s=0.05, webhook_retries=0))
    assert (told.is_known, told.attempts) == (False, 1)
    assert told.in_words.endswith("no answer: TimeoutError")


def test_what_was_not_heard_is_told_again_later_and_ever_more_rarely(ruled, settings, receiver):
    receiver.statuses = [500]
    once = settings.model_copy(update={"webhook_retries": 0})
    now = NOW
    tell(ruled, once, now=now)
    for n, wait in enumerate((5, 10, 20, 40, 80, 160, 320, 360, 360), start=1):
        then = now + timedelta(minutes=wait)
        assert webhook.due(ruled.lake, once, then - timedelta(seconds=1)) is None
        assert webhook.due(ruled.lake, once, then).endswith(f":{n}")
        now = then
        tell(ruled, once, now=now)
    receiver.statuses = [200]
    assert tell(ruled, once, now=now + timedelta(hours=6)).is_known
    assert webhook.due(ruled.lake, once, now + timedelta(days=9)) is None
    assert deliveries(ruled)["is_delivered"].to_list() == [False] * 10 + [True]


def test_of_changes_that_were_not_heard_the_last_one_is_told(ruled, settings, receiver):
    receiver.statuses = [400]
    tell(ruled, settings)
    three = ruled.decide(2, "three", promotes=True)
    receiver.statuses = [200]
    assert tell(ruled, settings).is_known
    assert json.loads(receiver.received[-1][3])["data"]["model_digest"] == three.digest
    assert tell(ruled, settings).in_words == "no change is untold"
