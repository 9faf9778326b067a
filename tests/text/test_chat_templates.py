"""Chat templates render as transformers renders them: llama.cpp's collection, a corpus of chats, equal or both refused.

The templates are read from llama-cpp-python's source package, which pip fetches once (77 MB, .cache/). They are
not part of this repository.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chat_corpus import requests  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("MILLRACE_RENDER_CHAT", ROOT / "build" / "render_chat"))
PACKAGE = "llama-cpp-python"
VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
NOW = datetime.datetime(2031, 5, 7, 15, 4, 9)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def fetch_package():
    """The path of the source package, in a cache that the repository ignores."""
    cache = ROOT / ".cache" / "packages"
    path = cache / f"{PACKAGE.replace('-', '_')}-{VERSION}.tar.gz"
    if path.is_file():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    wanted = cache / "chat-templates.txt"
    wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps",
         "--no-binary", PACKAGE, "--require-hashes", "-r", wanted, "-d", cache], capture_output=True, text=True)
    if done.returncode or not path.is_file():
        message = f"{PACKAGE} {VERSION} cannot be had, and with it the templates: {done.stderr[-300:]}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return path


@pytest.fixture(scope="module")
def templates():
    with tarfile.open(fetch_package()) as package:
        found = {}
        for member in package:
            name = member.name
            if "/models/templates/" in name and name.endswith(".jinja"):
                found[Path(name).stem] = package.extractfile(member).read().decode()
    assert len(found) >= 60
    return found


@pytest.fixture(scope="module")
def reference():
    """What transformers makes of a request: ("text", it), or ("refused", why)."""
    import transformers
    from tokenizers import Tokenizer, models
    from transformers.utils import chat_template_utils

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return NOW

    chat_template_utils.datetime = Clock
    stub = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, "<unk>")), **TOKENS)

    def render(template, request):
        request = dict(request)
        try:
            return "text", stub.apply_chat_template(
                request.pop("messages"), chat_template=template, tokenize=False,
                **request.pop("chat_template_kwargs", {}), **request)
        except Exception as error:  # whatever Python raises inside a template
            return "refused", f"{type(error).__name__}: {error}"

    return render


class Renderer:
    """Our renderer, a program that answers line by line."""

    def __init__(self):
        self.process = subprocess.Popen([PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **line):
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def open(self, template, **members):
        config = json.dumps(dict(TOKENS, chat_template=template))
        return self.ask(files={"tokenizer_config.json": config}, **members)

    def render(self, request, **members):
        line = dict(members, local_seconds=int((NOW - datetime.datetime(1970, 1, 1)).total_seconds()))
        for key, value in request.items():
            text = key in ("messages", "tools", "documents", "chat_template_kwargs")
            line[key] = json.dumps(value, ensure_ascii=False) if text else value
        return self.ask(**line)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


@pytest.fixture
def renderer():
    running = Renderer()
    yield running
    running.close()


def compare(renderer, reference, template):
    """Counts of (equal, both refused), and the requests where the two differ."""
    opened = renderer.open(template)
    assert "error" not in opened, opened
    equal, refused, different = 0, 0, []
    for name, request in requests():
        kind, expected = reference(template, request)
        made = renderer.render(request)
        if kind == "text" and made.get("text") == expected:
            equal += 1
        elif kind == "refused" and "error" in made:
            refused += 1
        else:
            different.append((name, (kind, expected), made))
    return equal, refused, different


def test_every_template_renders_as_in_transformers(templates, reference, renderer):
    lines, wrong = [], []
    for name, template in sorted(templates.items()):
        equal, refused, different = compare(renderer, reference, template)
        lines.append(f"{name:55} {equal:4} equal {refused:4} both refuse {len(different):4} differ")
        wrong += [(name, *entry) for entry in different]
    print("\n" + "\n".join(lines))
    samples = {(name, str(made)[:40]): entry for entry in reversed(wrong) for name, made in [(entry[0], entry[3])]}
    for name, request, expected, made in samples.values():
        print(f"\n{name}: {request}\n  transformers: {expected}\n  ours:         {made}")
    assert not wrong, f"{len(wrong)} renderings differ"


# How templates spell what takes control: <|im_start|>, <think>, [INST], <\uff5cUser\uff5c>.
CONTROL = re.compile(r"</?[^<>\s{}'\"=/]{2,40}>|\[/?[A-Z_]{3,}\]")
FORGED = "<|forged|>"
TURNS = ("system", "turns", "call, result, answer", "reasoning", "parts", "documents")


def chat_tokenizer(template):
    """Llama's small tokenizer with the template's control tokens as special ones."""
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(__file__).parent / "tokenizers" / "llama.json"))
    tokens = [FORGED, *sorted(set(CONTROL.findall(template)))]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in tokens])
    return tokenizer, tokens


def with_content(request, change):
    def changed(message):
        content = message.get("content")
        if message["role"] not in ("user", "tool", "system") or not isinstance(content, str):
            return message
        return dict(message, content=change(content))

    return dict(request, messages=[changed(message) for message in request["messages"]])


def test_no_text_of_a_user_takes_control(templates, reference, renderer):
    """Ids are those of tokenizers; a forged token is text, and all the others stay as they were."""
    num_plain = num_forged = 0
    for name, template in sorted(templates.items()):
        tokenizer, tokens = chat_tokenizer(template)
        assert "error" not in renderer.open(template, tokenizer=tokenizer.to_str()), name
        for title, request in requests():
            chat, setting = title.split(" / ")
            if chat not in TURNS or setting not in ("prompt", "tools", "documents"):
                continue
            made = renderer.render(request)
            if "error" in made:
                continue
            context = f"{name}: {title}"
            assert made["token_ids"] == tokenizer.encode(made["text"], add_special_tokens=False).ids, context
            num_plain += 1
            for forged in [FORGED, *tokens[1:4]]:
                inert = renderer.render(with_content(request, lambda text: text + " (forged) x"))
                tried = renderer.render(with_content(request, lambda text: f"{text} {forged} x"))
                if "error" in inert:
                    continue
                assert "error" not in tried, f"{context} with {forged}: {tried}"
                kind, expected = reference(template, with_content(request, lambda text: f"{text} {forged} x"))
                # The stub of the reference knows other special tokens; only texts are compared.
                assert (kind, expected) == ("text", tried["text"]), f"{context} with {forged}"
                if inert["text"].replace("(forged)", forged) != tried["text"]:
                    continue  # the template does something else when it sees this token
                id = tokenizer.token_to_id(forged)
                assert tried["token_ids"].count(id) == inert["token_ids"].count(id), f"{context} with {forged}"
                num_forged += 1
    print(f"\n{num_plain} chats as tokenizers encodes them, {num_forged} forgeries found")
    assert num_plain > 500 and num_forged > 1000


@pytest.mark.parametrize("template", [
    "{% for x in [true, none, 1.0, 'a\"b', [1], {'k': false}] %}{{ x }}|{% endfor %}",
    "{% set role = 'x' %}{{ '' ~ true ~ none ~ 1.50 ~ [role, \"it's\"] ~ {'a': role} }}",
    "{% generation %}{% set x = 1 %}{{ x }}{% endgeneration %}{{ x is defined }}",
    "{% raw %}{% generation %}{% endraw %}{# {% generation %} #}|{{ '{% generation %}' }}",
    "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% elif i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "a  {%- if true +%}\n  b\n{% endif -%}\n  c\n  {% if true %}\nd\n  {%+ endif %}e\n",
    "{{ [1,2,3,4][::-1] }}{{ 'abcdef'[4:1:-2] }}{{ [1,2][5:] }}{{ 'abc'[-2:] }}{{ [1,2,3][:-5:-1] }}",
    "{% set n = 3 %}{{ 7 % -n }} {{ -7 % n }} {{ 7.5 % n }} {{ 'a' * 3 }} {{ 2 ** 10 }} {{ [0] * 2 + [1] }} {{ 7 // 2 }}",
    "{{ 'a b  c'.split() }}{{ ' a b'.split(' ') }}{{ 'a.b.c'.rsplit('.', 1) }}{{ 'x'.partition('y')[0] }}",
    "{{ 'Hello wOrld'.title() }}{{ 'x\\ry\\x0bz'.splitlines() }}{{ '  x '.strip() }}|{{ 'xxabxx'.strip('x') }}",
    "{{ 'banana'.replace('a', 'o', 2) }}{{ 'banana'.find('n') }}{{ 'b\u00e9n'.find('n') }}{{ 'aaa'.count('a') }}",
    "{{ ['a', 1, none, true] | join('-') }}{{ 'x' | indent(2, true) }}{{ 'a\n\nb' | indent }}",
    "{{ {'b': 1, 'a': [1.0, none]} | tojson(indent=2, sort_keys=true) }}{{ '\u00e9<&' | tojson(ensure_ascii=true) }}",
    "{{ {'a': [], 'b': {}} | tojson(separators=(',', ':')) }}{{ [] | tojson(indent=4) }}",
    "{{ true is number }}{{ 'x' is sequence }}{{ {} is iterable }}{{ 1 is integer }}{{ x is iterable }}",
    "{{ '3' | int + 1 }}{{ 'x' | int }}{{ '2.7' | int }}{{ 'z' | float }}{{ [3, 1, 2] | sort | last }}",
    "{{ '%s and %05.2f' % ('a', 3.14159) }}{{ '{} {x}'.format(1, x=2) }}{{ 'a' | format }}",
    "{% set ns = namespace(a=1) %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}",
    "{% macro m(a, b='x') %}{{ a }}{{ b }}{{ caller is defined }}{% endmacro %}{{ m(1) }}{{ m(1, b=2) }}",
    "{{ messages[0].nothing }}{{ messages[0]['nothing'] is defined }}{{ messages[9] is defined }}",
    "{{ messages[0].nothing.deeper }}",
    "{{ 1 + 'x' }}", "{{ none | length }}", "{% for x in 5 %}{% endfor %}",
    "{% set n = 1 %}{{ n < 'x' }}", "{{ raise_exception('no') }}", "{{ messages.append(1) }}",
    "{{ (messages | map(attribute='role')) | tojson }}", "{{ undefined_function() }}",
    "{{ strftime_now('%d %b %Y %-I:%M %p %j') }}",
])
def test_templates_read_as_in_python(reference, renderer, template):
    request = {"messages": [{"role": "user", "content": "Hello"}]}
    opened = renderer.open(template)
    assert "error" not in opened, opened
    made = renderer.render(request)
    kind, wanted = reference(template, request)
    assert made.get("text") == wanted if kind == "text" else "error" in made, (kind, wanted, made)
