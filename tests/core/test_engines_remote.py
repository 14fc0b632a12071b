"""The remote engine against servers that misbehave, each a real one on loopback."""

from __future__ import annotations

import email.utils
import json
import stat
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from core import paths, settings
from core.errors import UserError
from core.inference import client, remote_pool
from core.inference.decoding import Decoding
from core.inference.engine import Generation, Options
from core.inference.engines import remote
from core.models import resolve

Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as the test's functions say, by path; counts what came."""

    def handle_any(self) -> None:
        self.server.seen.append((self.path, dict(self.headers), self._body()))  # type: ignore[attr-defined]
        behaviour: dict[str, Behaviour] = self.server.behaviour  # type: ignore[attr-defined]
        behaviour.get(self.path, lambda handler: handler.say(404, "{}"))(self)

    do_GET = do_POST = handle_any

    def say(self, status: int, body: str, kind: str = "application/json", **headers: str) -> None:
        content = body.encode()
        self.send_response(status)
        for name, value in {"Content_Type": kind, "Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def stream(self, *events: str) -> None:
        """Events, then the connection is closed."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in events:
            self.wfile.write(event.encode())
            self.wfile.flush()
        self.close_connection = True

    def _body(self) -> Any:
        length = int(self.headers.get("Content-Length") or 0)
        return json.loads(self.rfile.read(length)) if length else None

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_pool, "FIRST_PAUSE", 0.02)


@pytest.fixture
def start(workspace: object) -> Iterator[Callable[..., Any]]:
    """Starts servers, on a port of their own or on the one named."""
    running: list[Any] = []

    def begin(port: int = 0) -> Any:
        made: Any = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        made.daemon_threads = True
        made.seen = []
        made.behaviour = {"/v1/models": models("small", "large")}
        threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
        made.port = made.server_address[1]
        made.url = f"http://127.0.0.1:{made.port}/v1"
        running.append(made)
        return made

    yield begin
    for made in running:
        end(made)


def end(server: Any) -> None:
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(start: Callable[..., Any]) -> Any:
    return start()


@pytest.fixture
def pair(start: Callable[..., Any]) -> tuple[Any, Any]:
    """Two servers of the same model, which answer with their own number."""
    both = start(), start()
    for number, made in enumerate(both):
        made.behaviour["/v1/completions"] = saying(str(number))
    return both


def saying(text: str) -> Behaviour:
    return lambda handler: handler.say(200, completion(text))


def models(*names: str, **more: Any) -> Behaviour:
    listed = json.dumps({"data": [{"id": name, "max_model_len": 4096, **more} for name in names]})
    return lambda handler: handler.say(200, listed)


def completion(text: str = "fine", **more: Any) -> str:
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    return json.dumps({"choices": [{"text": text, "finish_reason": "stop"}], "usage": usage, **more})


def opened(server: Any, *, ref: str = "", **options: Any) -> remote.Engine:
    engine = remote.Engine(**options)
    engine.load(resolve(ref or server.url), Options())
    return engine


ASK = Generation(Decoding(max_tokens=5, top_k=3, seed=1), "hello", (), None, ("\n",))


def asked_bodies(server: Any) -> list[dict]:
    return [body for path, _headers, body in server.seen if path.endswith("completions")]


def test_a_plain_server_gets_plain_openai_fields(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(200, completion())
    opened(server).answer(ASK)
    assert asked_bodies(server) == [
        {
            "model": "small",
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 5,
            "seed": 1,
            "stop": ["\n"],
            "prompt": "hello",
        }
    ]


def test_the_model_after_the_hash_is_asked_for(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(200, completion())
    opened(server, ref=f"{server.url}#large").answer(ASK)
    assert asked_bodies(server)[0]["model"] == "large"
    with pytest.raises(UserError, match=r"huge.*It serves: small, large"):
        opened(server, ref=f"{server.url}#huge")


@pytest.mark.parametrize(
    ("page", "content", "field"),
    [
        ("/props", {"default_generation_settings": {}}, "grammar"),
        ("/version", {"version": "0.10.2"}, "guided_grammar"),
        ("/version", {"version": "0.19.0"}, "structured_outputs"),
    ],
)
def test_a_known_server_gets_the_grammar_where_it_reads_it(server: Any, page: str, content: dict, field: str) -> None:
    server.behaviour |= {
        page: lambda handler: handler.say(200, json.dumps(content)),
        "/v1/completions": lambda handler: handler.say(200, completion()),
    }
    engine = opened(server)
    assert engine.can.grammar
    engine.answer(Generation(Decoding(), "x", (), 'root ::= "a"'))
    sent = asked_bodies(server)[0][field]
    assert sent in ('root ::= "a"', {"grammar": 'root ::= "a"'})


def test_an_unknown_server_is_not_said_to_keep_a_grammar(server: Any) -> None:
    engine = opened(server)
    assert not engine.can.grammar
    with pytest.raises(UserError, match="grammar"):
        engine.answer(Generation(Decoding(), "x", (), 'root ::= "a"'))


def test_a_busy_server_is_asked_again_after_the_time_it_names(server: Any) -> None:
    def busy_twice(handler: Handler) -> None:
        if len(asked_bodies(server)) < 3:
            handler.say(429 if len(asked_bodies(server)) == 1 else 503, "{}", Retry_After="0")
        else:
            handler.say(200, completion("at last"))

    server.behaviour["/v1/completions"] = busy_twice
    assert opened(server).answer(ASK)["choices"][0]["text"] == "at last"


def test_a_server_that_stays_busy_is_given_up_in_words(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(429, "{}", Retry_After="0")
    with pytest.raises(UserError, match="429"):
        opened(server, tries=3).answer(ASK)
    assert len(asked_bodies(server)) == 3


def test_stopping_ends_the_waiting_for_a_busy_server(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(503, "{}", Retry_After="20")
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    pieces = list(opened(server).generate(ASK, stop))
    assert [piece.finish for piece in pieces] == ["cancelled"]
    assert time.monotonic() - began < 5


def test_a_wrong_key_is_named_and_never_shown(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWLM_API_KEY", "secret-of-mine")
    server.behaviour["/v1/models"] = lambda handler: handler.say(401, '{"error": {"message": "bad key"}}')
    with pytest.raises(UserError, match="refuses the key") as refused:
        opened(server)
    assert "secret-of-mine" not in str(refused.value)
    assert server.seen[0][1]["Authorization"] == "Bearer secret-of-mine"


def test_the_key_is_read_from_the_variable_that_settings_name(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVERS_KEY", "from-settings")
    endpoint = settings.Endpoint(name="mine", url=server.url, key_env="MY_SERVERS_KEY")
    settings.write(settings.Settings(endpoints=(endpoint,)))
    opened(server)
    assert server.seen[0][1]["Authorization"] == "Bearer from-settings"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("<html>login</html>", "text/html"),
        ("[1, 2]", "application/json"),
        ("[" * 100_000, "application/json"),
        ("", ""),
    ],
)
def test_what_is_no_answer_is_refused_in_words(server: Any, body: str, kind: str) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(200, body, kind)
    engine = opened(server)
    with pytest.raises(UserError, match="not an answer"):
        engine.answer(ASK)
    with pytest.raises(UserError, match="not an answer"):
        list(engine.generate(ASK, threading.Event()))


@pytest.mark.parametrize(
    "body", ['{"choices": []}', '{"choices": [{}]}', "{}", '{"choices": [{"text": null}]}', '{"a": 1}']
)
def test_an_answer_without_text_is_no_crash(server: Any, body: str) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(200, body)
    connected = client.connect(server.url)
    try:
        assert connected.complete("x", Decoding()).text == ""
    except UserError as error:
        assert "without a text" in str(error)


@pytest.mark.parametrize(
    "events",
    [
        ('data: {"choices": [{"text": "half"}]}\n\n',),
        ('data: {"choices": [{"te',),
        ("data: nonsense\n\n",),
        (),
    ],
)
def test_half_an_answer_is_an_error(server: Any, events: tuple[str, ...]) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.stream(*events)
    with pytest.raises(UserError):
        list(opened(server).generate(ASK, threading.Event()))


def test_a_body_shorter_than_announced_is_an_error(server: Any) -> None:
    def short(handler: Handler) -> None:
        handler.say(200, completion(), Content_Length="9999")
        handler.close_connection = True

    server.behaviour["/v1/completions"] = short
    with pytest.raises(UserError, match="broke off"):
        opened(server, silence=2).answer(ASK)


def test_an_error_in_the_middle_of_a_stream_is_raised(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.stream(
        'data: {"choices": [{"text": "so far"}]}\n\n', 'data: {"error": {"message": "out of memory"}}\n\n'
    )
    with pytest.raises(UserError, match="out of memory"):
        list(opened(server).generate(ASK, threading.Event()))


def test_a_stream_is_read_whole(server: Any) -> None:
    events = [
        f"data: {json.dumps({'choices': [{'text': text}]}, ensure_ascii=False)}\n\n" for text in ("a", "😀", "𠮷")
    ]
    end = 'data: {"choices": [{"text": "", "finish_reason": "length"}], "usage": {"prompt_tokens": 2, '
    end += '"completion_tokens": 9}}\n\n'
    server.behaviour["/v1/completions"] = lambda handler: handler.stream(
        ": hello\n\n", *events, end, "data: [DONE]\n\n"
    )
    pieces = list(opened(server).generate(ASK, threading.Event()))
    assert "".join(piece.text for piece in pieces) == "a😀𠮷"
    assert (pieces[-1].finish, pieces[-1].tokens, pieces[-1].prompt_tokens) == ("length", 9, 2)


def test_a_server_that_hangs_is_given_up(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: time.sleep(30)
    began = time.monotonic()
    with pytest.raises(UserError, match="does not answer"):
        opened(server, silence=0.5).answer(ASK)
    assert time.monotonic() - began < 10


def test_nobody_there_is_an_error_with_a_remedy(workspace: object) -> None:
    with pytest.raises(UserError, match="does not answer"):
        remote.Engine(tries=1).load(resolve("http://127.0.0.1:9/v1"), Options())


def test_offline_means_that_only_this_machine_is_asked(workspace: object) -> None:
    settings.write(settings.Settings(offline=True))
    with pytest.raises(UserError, match="offline"):
        remote.Engine(tries=1).load(resolve("http://model.example/v1"), Options())


def test_a_redirect_is_not_followed_with_the_key(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWLM_API_KEY", "secret-of-mine")
    server.behaviour["/v1/models"] = lambda handler: handler.say(302, "", Location="/elsewhere")
    with pytest.raises(UserError, match=r"sends to /elsewhere \(302\)"):
        opened(server)
    assert "/elsewhere" not in [path for path, _headers, _body in server.seen]


def test_a_remote_reference_needs_no_host(server: Any) -> None:
    server.behaviour["/v1/chat/completions"] = lambda handler: handler.say(
        200, '{"choices": [{"message": {"content": "hi"}, "finish_reason": "length"}]}'
    )
    connected = client.connect(server.url)
    answer = connected.chat([{"role": "user", "content": "hello"}], Decoding())
    assert (answer.text, answer.finish, connected.context) == ("hi", "length", 4096)
    assert client.status().state == "empty"


def both(pair: tuple[Any, Any], **options: Any) -> remote.Engine:
    return opened(pair[0], ref=f"{pair[0].url},{pair[1].url}#small", **options)


def texts(engine: remote.Engine, count: int) -> list[str]:
    return [engine.answer(ASK)["choices"][0]["text"] for _ in range(count)]


def test_requests_go_to_the_server_with_the_fewest(pair: tuple[Any, Any]) -> None:
    released = threading.Event()

    def slowly(handler: Handler) -> None:
        released.wait(10)
        handler.say(200, completion("slow"))

    for made in pair:
        made.behaviour["/v1/completions"] = slowly
    engine = both(pair)
    asking = [threading.Thread(target=engine.answer, args=(ASK,)) for _ in range(6)]
    for thread in asking:
        thread.start()
    until = time.monotonic() + 10
    while sum(len(asked_bodies(made)) for made in pair) < 6 and time.monotonic() < until:
        time.sleep(0.01)
    assert [len(asked_bodies(made)) for made in pair] == [3, 3]
    released.set()
    for thread in asking:
        thread.join()


def test_a_server_that_fails_is_left_out_until_it_is_back(pair: tuple[Any, Any], start: Callable[..., Any]) -> None:
    engine = both(pair)
    end(pair[0])
    assert texts(engine, 6) == ["1"] * 6
    again = start(pair[0].port)
    again.behaviour["/v1/completions"] = saying("0")
    time.sleep(0.3)
    assert set(texts(engine, 6)) == {"0", "1"}


def test_a_server_that_is_away_at_first_is_asked_once_it_is_there(
    pair: tuple[Any, Any], start: Callable[..., Any]
) -> None:
    end(pair[0])
    engine = both(pair)
    assert texts(engine, 2) == ["1", "1"]
    start(pair[0].port).behaviour["/v1/completions"] = saying("0")
    time.sleep(0.3)
    assert set(texts(engine, 6)) == {"0", "1"}


def test_a_busy_server_is_not_waited_for_while_another_is_free(pair: tuple[Any, Any]) -> None:
    pair[0].behaviour["/v1/completions"] = lambda handler: handler.say(429, "{}", Retry_After="60")
    began = time.monotonic()
    assert texts(both(pair), 4) == ["1"] * 4
    assert time.monotonic() - began < 5
    assert len(asked_bodies(pair[0])) == 1


def test_a_server_that_hangs_hands_its_request_to_another(pair: tuple[Any, Any]) -> None:
    pair[0].behaviour["/v1/completions"] = lambda handler: time.sleep(20)
    assert texts(both(pair, silence=0.3), 3) == ["1"] * 3


def test_servers_of_another_model_are_not_mixed_in(pair: tuple[Any, Any]) -> None:
    pair[1].behaviour["/v1/models"] = models("other")
    with pytest.raises(UserError, match="does not serve the model"):
        both(pair)


def test_each_server_is_spoken_to_in_its_own_way(pair: tuple[Any, Any]) -> None:
    pair[0].behaviour["/v1/models"] = models("small", owned_by="vllm")
    pair[1].behaviour["/props"] = lambda handler: handler.say(200, '{"default_generation_settings": {}}')
    engine = both(pair)
    for _ in range(2):
        engine.answer(Generation(Decoding(), "x", (), 'root ::= "a"'))
    assert asked_bodies(pair[0])[0]["structured_outputs"] == {"grammar": 'root ::= "a"'}
    assert asked_bodies(pair[1])[0]["grammar"] == 'root ::= "a"'


@pytest.mark.parametrize("lost", ["closed", "500", "begun"])
def test_what_was_lost_before_a_word_is_asked_again(server: Any, lost: str) -> None:
    def once(handler: Handler) -> None:
        if len(asked_bodies(server)) > 1:
            handler.stream('data: {"choices": [{"text": "whole", "finish_reason": "stop"}]}\n\n', "data: [DONE]\n\n")
        elif lost == "closed":
            handler.connection.close()
        elif lost == "500":
            handler.say(500, "<html>oops</html>", "text/html")
        else:
            handler.stream(": begun\n\n")

    server.behaviour["/v1/completions"] = once
    pieces = list(opened(server).generate(ASK, threading.Event()))
    assert "".join(piece.text for piece in pieces) == "whole"
    assert len(asked_bodies(server)) == 2


def test_what_was_said_in_part_is_never_asked_again(pair: tuple[Any, Any]) -> None:
    for made in pair:
        made.behaviour["/v1/completions"] = lambda handler: handler.stream('data: {"choices": [{"text": "half"}]}\n\n')
    with pytest.raises(UserError, match="broke off"):
        list(both(pair).generate(ASK, threading.Event()))
    assert sum(len(asked_bodies(made)) for made in pair) == 1


@pytest.mark.parametrize("asked", ["0.4", "date"])
def test_the_time_that_a_server_asks_for_is_kept(server: Any, asked: str) -> None:
    def busy_once(handler: Handler) -> None:
        if len(asked_bodies(server)) > 1:
            handler.say(200, completion())
            return
        times.append(time.time())
        after = asked if asked != "date" else email.utils.formatdate(int(time.time()) + 2, usegmt=True)
        handler.say(429, "{}", Retry_After=after)

    times: list[float] = []
    server.behaviour["/v1/completions"] = busy_once
    opened(server).answer(ASK)
    assert time.time() - times[0] >= (0.4 if asked != "date" else 0.9)


def test_nobody_waits_an_hour_because_a_server_asks_to(server: Any) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(429, "{}", Retry_After="3600")
    with pytest.raises(UserError, match="429"):
        opened(server).answer(ASK)
    assert len(asked_bodies(server)) == 1


@pytest.mark.parametrize("status", [400, 404, 413, 501])
def test_what_would_be_refused_again_is_asked_once(server: Any, status: int) -> None:
    server.behaviour["/v1/completions"] = lambda handler: handler.say(status, '{"error": {"message": "no"}}')
    with pytest.raises(UserError, match=f"{status}: no"):
        opened(server).answer(ASK)
    assert len(asked_bodies(server)) == 1


def limited(server: Any, **limits: Any) -> remote.Engine:
    endpoint = settings.Endpoint(name="mine", url=server.url, **limits)
    settings.write(settings.Settings(endpoints=(endpoint,)))
    return opened(server)


def test_no_more_are_asked_at_once_than_a_person_allows(server: Any) -> None:
    now, most, lock = [0], [0], threading.Lock()

    def counted(handler: Handler) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        handler.say(200, completion())

    server.behaviour["/v1/completions"] = counted
    engines = [limited(server, at_once=2), limited(server, at_once=2)]
    asking = [threading.Thread(target=engine.answer, args=(ASK,)) for engine in engines for _ in range(5)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert most == [2]
    assert client.connect(server.url).parallel == 2


def test_no_more_begin_a_second_than_a_person_allows(server: Any) -> None:
    server.behaviour["/v1/completions"] = saying("fine")
    engine = limited(server, per_second=20)
    began = time.monotonic()
    texts(engine, 6)
    assert time.monotonic() - began >= 5 / 20


def test_a_silent_server_is_left_at_once_when_stopped(server: Any) -> None:
    gone = threading.Event()

    def think(handler: Handler) -> None:
        handler.stream(": thinking\n\n")
        if handler.connection.recv(1) == b"":
            gone.set()

    server.behaviour["/v1/completions"] = think
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    pieces = list(opened(server).generate(ASK, stop))
    assert pieces[-1].finish == "cancelled"
    assert time.monotonic() - began < 5
    assert gone.wait(5)


def test_separators_that_are_no_line_ends_stay_in_the_text(server: Any) -> None:
    told = json.dumps({"choices": [{"text": "a\u2028b\x85c", "finish_reason": "stop"}]}, ensure_ascii=False)
    server.behaviour["/v1/completions"] = lambda handler: handler.stream(f"data: {told}\r\n\r\n")
    pieces = list(opened(server).generate(ASK, threading.Event()))  # and [DONE] may be missing, the reason not
    assert "".join(piece.text for piece in pieces) == "a\u2028b\x85c"


@pytest.mark.parametrize("odd", ['[{"text": 5}]', "[7]", '{"a": 1}', '[{"delta": "x", "finish_reason": []}]'])
def test_odd_events_are_no_crash(server: Any, odd: str) -> None:
    end = 'data: {"choices": [{"finish_reason": "stop"}], "usage": "many"}\n\n'
    server.behaviour["/v1/completions"] = lambda handler: handler.stream(f'data: {{"choices": {odd}}}\n\n', end)
    try:
        assert list(opened(server).generate(ASK, threading.Event()))[-1].finish == "stop"
    except UserError as error:
        assert "not an answer" in str(error)


def test_a_field_that_a_hosted_server_refuses_is_said_its_way(server: Any) -> None:
    def particular(handler: Handler) -> None:
        body = asked_bodies(server)[-1]
        for name in ("stream_options", "max_tokens"):
            if name in body:
                handler.say(400, json.dumps({"error": {"message": f"Unsupported parameter: '{name}'"}}))
                return
        handler.stream('data: {"choices": [{"text": "ok", "finish_reason": "stop"}]}\n\n')

    server.behaviour["/v1/completions"] = particular
    engine = opened(server)
    for _ in range(2):
        assert [piece.text for piece in engine.generate(ASK, threading.Event()) if piece.text] == ["ok"]
    bodies = asked_bodies(server)
    assert len(bodies) == 4  # learnt once
    assert bodies[-1]["max_completion_tokens"] == 5


def test_llama_cpps_server_says_what_it_has_and_gets_its_own_names(server: Any) -> None:
    props = {"default_generation_settings": {"n_ctx": 1024}, "total_slots": 3}
    server.behaviour |= {
        "/v1/models": lambda handler: handler.say(200, '{"data": [{"id": "small"}]}'),
        "/props": lambda handler: handler.say(200, json.dumps(props)),
        "/v1/completions": saying("fine"),
    }
    engine = remote.Engine()
    loaded = engine.load(resolve(server.url), Options())
    assert (loaded.context, loaded.parallel) == (1024, 3)
    engine.answer(Generation(Decoding(repetition_penalty=1.3), "x"))
    expected = {"repeat_penalty": 1.3, "top_k": 0, "min_p": 0.0}
    assert expected.items() <= asked_bodies(server)[0].items()


def test_vllm_is_told_to_take_all_tokens_and_which_seed(server: Any) -> None:
    server.behaviour |= {"/v1/models": models("small", owned_by="vllm"), "/v1/completions": saying("fine")}
    engine = opened(server)
    assert engine.can.grammar and engine.can.compiles
    told = engine.answer(Generation(Decoding(temperature=1.0), "x"))
    [asked] = asked_bodies(server)
    assert asked["top_k"] == -1
    assert told["knowlm"]["seed"] == asked["seed"]


def test_ollamas_context_is_known_where_it_tells_it(server: Any) -> None:
    server.behaviour |= {
        "/v1/models": lambda handler: handler.say(200, '{"data": [{"id": "qwen:4b", "owned_by": "library"}]}'),
        "/api/version": lambda handler: handler.say(200, '{"version": "0.40.12"}'),
        "/api/ps": lambda handler: handler.say(200, '{"models": [{"name": "qwen:4b", "context_length": 4096}]}'),
    }
    engine = remote.Engine()
    assert engine.load(resolve(server.url), Options()).context == 4096
    assert engine.can.seed and not engine.can.grammar


def test_a_key_given_to_the_app_goes_to_its_server_alone(pair: tuple[Any, Any]) -> None:
    mine = settings.Endpoint(name="mine", url=pair[0].url)
    settings.write(settings.Settings(endpoints=(mine, settings.Endpoint(name="other", url=pair[1].url))))
    settings.keep_key(mine.url, " kept-by-the-app\n")
    for made in pair:
        opened(made)
    assert pair[0].seen[0][1]["Authorization"] == "Bearer kept-by-the-app"
    assert "Authorization" not in pair[1].seen[0][1]
    file = paths.settings_file().with_name("keys.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "kept-by-the-app" not in paths.settings_file().read_text()
    settings.keep_key(mine.url, "")
    assert settings.api_key(mine.url) is None


def test_a_key_that_is_none_is_not_shown(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNOWLM_API_KEY", "sk-secret\nX-Other: 1")
    with pytest.raises(UserError, match="no key has") as refused:
        opened(server)
    assert "sk-secret" not in str(refused.value)


def test_an_address_with_a_password_is_refused_wherever_it_stands(workspace: object) -> None:
    for ref in ("http://me:secret@host/v1", "http://a/v1,http://me:secret@host/v1#m"):
        with pytest.raises(UserError, match="password") as refused:
            resolve(ref)
        assert "secret" not in str(refused.value)
        with pytest.raises(ValueError, match="address"):
            settings.Endpoint(name="x", url=ref)
