"""Plans, listings and the greeting as a person reads them."""

from dataclasses import replace
from textwrap import dedent

import pytest
from pydantic import SecretStr

from scribe_router.explain import describe, greeting, listing
from scribe_router.facts import Facts
from scribe_router.plan import Snapshot, plan
from scribe_router.policies.access import AccessPolicy
from scribe_router.policies.reasoning import Asked
from scribe_router.registry import Registry
from tests.policies.registries import TODAY, deployment, priced, registry

CONFIG = {
    "deployments": [
        {"id": "gpt-6-luna", "price": (0.1, 0.5), "window": 922_000},
        {"id": "claude", "provider": "anthropic", "wire": "anthropic", "lane": "litellm", "price": (2, 10)},
        {"id": "kimi-china", "model": "kimi", "provider": "moonshot", "region": "china", "window": 262_144},
        {"id": "kimi-world", "model": "kimi", "provider": "moonshot", "region": "international",
         "missing": "MOONSHOT_API_KEY is not set", "order": 1},
        {"id": "home", "provider": "hosted_vllm", "region": "local", "price": (0, 0), "window": 32_768},
        {"id": "vector", "mode": "embedding", "price": (0.02, 0)},
    ],
    "groups": {"cheap": ["gpt-6-luna", "kimi"]},
    "aliases": {"fast": "cheap", "secret": "home"},
    "hidden": ["secret"],
    "fallbacks": {"cheap": ["claude"]},
    "context_window_fallbacks": {"cheap": ["claude"]},
    "content_policy_fallbacks": {"kimi": ["claude", "home"]},
    "last_resort": ["home"],
    "migrations": {"gpt-4": {"to": "gpt-6-luna", "retires": "2026-10-23", "note": "no temperature"}},
    "routing": {"default_model": "fast", "default_embedding_model": "vector"},
}  # fmt: skip


@pytest.fixture
def known() -> Registry:
    found = registry(CONFIG)
    tiered = priced(
        2, 10, input_cost_per_token_above_272k_tokens="4e-6", output_cost_per_token_above_272k_tokens="15e-6"
    )
    deployments = {**found.deployments, "claude": replace(found.deployments["claude"], price=tiered)}
    return replace(found, deployments=deployments)


def described(request: Facts, known: Registry) -> str:
    return describe(plan(request, known, Snapshot(TODAY, 0)), known) + "\n"


FULL = """\
fast -> cheap (group): chat, configuration 0123abcd

tried in this order
      deployment  provider        lane     window   usd in/out per million    because of
  1.  gpt-6-luna  openai          wire     922,000  0.1/0.5                   alias fast, group cheap
  2.  kimi-china  moonshot china  wire     262,144  no price                  alias fast, group cheap
  3.  claude      anthropic       litellm  unknown  2/10, above 272,000 4/15  fallback of cheap
  4.  home        hosted_vllm     wire     32,768   free                      last resort

only when the request is too long, after wider ones of those above
      deployment  provider        lane     window   usd in/out per million    because of
  1.  claude      anthropic       litellm  unknown  2/10, above 272,000 4/15  context-window fallback of cheap

only when a provider refuses the content
      deployment  provider        lane     window   usd in/out per million    because of
  1.  claude      anthropic       litellm  unknown  2/10, above 272,000 4/15  content-policy fallback of kimi
  2.  home        hosted_vllm     wire     32,768   free                      content-policy fallback of kimi

left out
  -  kimi-world  missing: MOONSHOT_API_KEY is not set
"""


def test_a_plan_with_fallbacks_chains_and_exclusions(known: Registry) -> None:
    assert described(Facts("chat", "fast"), known) == FULL


def test_a_plain_plan(known: Registry) -> None:
    assert described(Facts("chat", "home", fallback_enabled=False), known) == dedent(
        """\
        home (model): chat, without fallbacks, configuration 0123abcd

        tried in this order
              deployment  provider     lane  window  usd in/out per million  because of
          1.  home        hosted_vllm  wire  32,768  free                    model home
        """
    )


def test_an_old_name_and_every_wish(known: Registry) -> None:
    request = Facts(
        "chat", "gpt-4", tools=True, wish=Asked("low"), provider="azure", lane="litellm", fallback_enabled=False
    )
    assert described(request, known) == dedent(
        """\
        gpt-4 -> gpt-6-luna (model): chat, with tools, effort low, provider azure, lane litellm, without fallbacks, \
configuration 0123abcd
        ! gpt-4 (retired 2026-10-23) is served by gpt-6-luna; no temperature
        ! nothing behind gpt-6-luna is at the provider azure; its order stays

        tried in this order
              deployment  provider  lane     window   usd in/out per million  because of
          1.  gpt-6-luna  openai    litellm  922,000  0.1/0.5                 model gpt-6-luna

        told to reason
          -  gpt-6-luna  as it was asked  it is not known how this model is told
        """
    )


def test_no_name_is_the_default(known: Registry) -> None:
    assert described(Facts("embeddings", ""), known).startswith(
        "(no model: the default) -> vector (model): embeddings,"
    )
    assert described(Facts("chat", ""), known).startswith("(no model: the default) -> fast -> cheap (group): chat,")


def test_a_listing(known: Registry) -> None:
    assert listing(known) + "\n" == dedent(
        """\
        name        kind            behind it
        cheap       group           gpt-6-luna, kimi-china (MOONSHOT_API_KEY is not set)
        gpt-6-luna  model           gpt-6-luna
        claude      model           claude
        kimi        model           kimi-china (MOONSHOT_API_KEY is not set)
        home        model           home
        vector      model, default  vector
        fast        alias, default  gpt-6-luna, kimi-china (MOONSHOT_API_KEY is not set)
        """
    )


def test_a_name_that_nothing_serves(known: Registry) -> None:
    bare = registry({"deployments": [{"id": "a", "missing": "KEY is not set"}]})
    assert listing(bare).splitlines()[-1] == "a     model  nothing (KEY is not set)"


def test_the_greeting(known: Registry) -> None:
    assert greeting(known, "http://127.0.0.1:4000") == dedent(
        """\
        scribe_router at http://127.0.0.1:4000   5 deployments, configuration 0123abcd

          curl -s http://127.0.0.1:4000/v1/chat/completions -H 'Content-Type: application/json' \\
            -d '{"model": "fast", "messages": [{"role": "user", "content": "hello"}]}'

          from openai import OpenAI
          client = OpenAI(base_url="http://127.0.0.1:4000/v1", api_key="none")
          print(client.chat.completions.create(model="fast", messages=[{"role": "user", "content": "hello"}]))
        """
    )


def test_the_greeting_behind_a_key_does_not_show_it(known: Registry) -> None:
    access = AccessPolicy(master_key=SecretStr("k" * 40))
    text = greeting(replace(known, access=access, warnings=("1 deployment is left out",)), "http://h")
    assert '-H "Authorization: Bearer $SCRIBE_MASTER_KEY"' in text
    assert '  import os\n  from openai import OpenAI\n  client = OpenAI(base_url="http://h/v1", ' in text
    assert 'api_key=os.environ["SCRIBE_MASTER_KEY"]' in text
    assert "  1 deployment is left out" in text
    assert "kkk" not in text


@pytest.mark.parametrize(
    ("deployments", "routing", "name"),
    [
        (["a", "b"], {"default_model": "b"}, "b"),
        ([{"id": "a", "missing": "KEY is not set"}, "b"], {"default_model": "a"}, "b"),
        ([{"id": "v", "mode": "embedding"}, "b"], {}, "b"),
        (["a", "echo"], {"default_model": "a"}, "echo"),
        ([{"id": "a", "missing": "KEY is not set"}], {}, "MODEL"),
    ],
)
def test_the_greeting_shows_a_name_that_works(deployments: list[object], routing: dict[str, str], name: str) -> None:
    text = greeting(registry({"deployments": deployments, "routing": routing}), "http://h")
    assert f'"model": "{name}"' in text
    assert ("no deployment can be used yet" in text) == (name == "MODEL")


def test_small_prices_are_written_out(known: Registry) -> None:
    cheap = replace(known.deployments["home"], price=deployment("m", price=(0.00005, 0.4)).price)
    assert "  0.00005/0.4  " in described(
        Facts("chat", "home"), replace(known, deployments={**known.deployments, "home": cheap})
    )
