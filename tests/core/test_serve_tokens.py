"""Tokens: made, shown once, kept hashed, listed, revoked; and the limits that hang on them."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import UserError
from core.operation import Silent
from core.serve import commands, tokens
from core.serve.commands import TokensRequest
from core.serve.guard import Hosts
from core.serve.limits import Limits
from core.serve.refused import Refused


def manage(action: str, name: str = "", **options: int) -> commands.TokensResult:
    return commands.manage(TokensRequest(action=action, name=name, **options), Silent())  # type: ignore[arg-type]


def test_a_token_is_shown_once_and_kept_hashed(workspace: Path) -> None:
    shown = manage("add", "小明").summary()
    secret = shown.splitlines()[0]
    assert secret.startswith("ks-")
    assert len(secret) > 40
    kept = b"".join(file.read_bytes() for file in workspace.glob("serve.sqlite*"))
    assert secret.encode() not in kept
    assert stat.S_IMODE((workspace / "serve.sqlite").stat().st_mode) == 0o600
    listed = manage("list").summary()
    assert "小明: 60 requests a minute" in listed
    assert secret not in listed
    assert tokens.find(secret) is not None
    assert tokens.find(secret + "x") is None


def test_a_revoked_token_is_worth_nothing(workspace: Path) -> None:
    secret = tokens.add("a", per_minute=1, per_day=1)
    token = tokens.find(secret)
    assert token is not None
    assert "revoked" in manage("revoke", "a").summary()
    assert tokens.find(secret) is None
    tokens.charge(token, 5)  # a request that was under way
    assert manage("list").summary() == "no tokens"
    with pytest.raises(UserError, match="no token named"):
        tokens.revoke("a")
    assert tokens.add("a", per_minute=1, per_day=1) != secret


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\nb", "a\x1b[31m"])
def test_a_name_is_one_short_line(workspace: Path, name: str) -> None:
    with pytest.raises(UserError, match="name"):
        tokens.add(name, per_minute=0, per_day=0)


def test_two_tokens_cannot_share_a_name(workspace: Path) -> None:
    tokens.add("a", per_minute=0, per_day=0)
    with pytest.raises(UserError, match="already"):
        tokens.add("a", per_minute=0, per_day=0)


def test_a_broken_store_is_told_in_words(workspace: Path) -> None:
    (workspace / "serve.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="can't be used"):
        tokens.every()


def test_a_minute_passes(workspace: Path) -> None:
    now = 1000.0
    limits = Limits(lambda: now)
    tokens.add("a", per_minute=2, per_day=0)
    [token] = tokens.every()
    limits.admit(token)
    now += 30
    limits.admit(token)
    with pytest.raises(Refused) as refused:
        limits.admit(token)
    assert refused.value.retry_after == 30
    now += 30
    limits.admit(token)


def test_a_day_passes(workspace: Path) -> None:
    now = 86_400.0 * 20_000 + 86_000
    limits = Limits(lambda: now)
    tokens.add("a", per_minute=0, per_day=100)
    [token] = tokens.every()
    visit = limits.admit(token)
    visit.expects(100)
    with pytest.raises(Refused) as refused:
        limits.admit(token)
    assert refused.value.retry_after == 400
    visit.settle(60)
    [token] = tokens.every()
    assert token.tokens_today == 60
    limits.admit(token).settle(40)
    with pytest.raises(Refused):
        limits.admit(tokens.every()[0])
    limits.admit(replace(token, tokens_today=0))  # as the store says of the next day


def test_hosts_that_are_answered() -> None:
    local = Hosts("127.0.0.1")
    assert all(map(local.answers, ("127.0.0.1:8100", "localhost", "LOCALHOST.", "[::1]:8100")))
    assert not any(map(local.answers, ("192.168.0.7", "evil.example", "::1", "localhost@evil.example", "", "/")))
    everywhere = Hosts("0.0.0.0", ("kg.example",))  # noqa: S104
    assert all(map(everywhere.answers, ("192.168.0.7:8100", "[fe80::1]", "kg.example:443", "localhost")))
    assert not any(map(everywhere.answers, ("evil.example", "kg.example.evil.example")))
    assert not Hosts("::1").beyond_loopback
    assert Hosts("127.0.0.1", ("kg.example",)).beyond_loopback
    assert Hosts("kg").beyond_loopback
