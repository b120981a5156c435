"""`archdsl generate`: text from a model."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archdsl.cli.failure import fail
from archdsl.cli.models import (
    device_option,
    dtype_option,
    make,
    max_params_option,
    seed_option,
    threads_option,
    tokenizer_for,
    weights_path,
)
from archdsl.cli.options import load_spec, spec_options
from archdsl.cli.runs import newest, trained_with

if TYPE_CHECKING:
    from archdsl.api import Spec
    from archdsl.runtime.tokenizer import Tokenizer


@click.command()
@click.argument("file")
@click.argument("prompt", required=False)
@click.option(
    "--weights",
    metavar="PATH|NAME",
    help="A .gguf or .safetensors file, a Hugging Face folder, or a name; not needed where the spec names `pretrained` ones.",
)
@click.option("--tokenizer", "tokenizer_path", metavar="PATH", help="Where the tokenizer is, if not with the weights.")
@click.option("--prompt-file", metavar="PATH", help="Read the prompt from a file; `-` is standard input.")
@click.option("--chat", is_flag=True, help="Put the prompt into the weights' chat template, as a user's turn.")
@click.option("--system", metavar="TEXT", help="A system message before it (with --chat).")
@click.option("--max-new", type=click.IntRange(min=0), default=128, show_default=True, help="Most tokens to generate.")
@click.option("--temperature", type=float, default=0.0, show_default=True, help="0 takes the most likely token.")
@click.option("--top-k", type=int, help="Sample among the k most likely.")
@click.option("--top-p", type=float, help="Sample among the fewest whose probabilities reach p.")
@click.option("--repetition-penalty", type=float, default=1.0, show_default=True, help="Above 1: tokens seen before become less likely.")
@click.option("--stream/--no-stream", default=True, show_default=True, help="Print the text as it comes, or when it is whole.")
@spec_options
@device_option
@dtype_option
@seed_option
@threads_option
@max_params_option
def generate(
    file: str,
    prompt: str | None,
    weights: str | None,
    tokenizer_path: str | None,
    prompt_file: str | None,
    chat: bool,
    system: str | None,
    max_new: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    repetition_penalty: float,
    stream: bool,
    settings: tuple[str, ...],
    arch: str | None,
    root: str | None,
    device: str,
    dtype: str,
    seed: int,
    threads: int | None,
    max_params: float,
) -> None:
    """Continue PROMPT with a model. The text goes to standard output, the speed to standard error.

    --weights may be a folder that `archdsl train --save` wrote: it brings its newest weights, its tokenizer and its --set values.

    \b
    Examples:
      archdsl generate smollm2 --weights smollm2-135m "The capital of France is" --max-new 20
      archdsl generate smollm2 --weights smollm2-135m --chat "Name three primes." --temperature 0.7 --seed 1
      archdsl generate tiny.arch --weights runs/tiny "To be" --max-new 200
      archdsl generate smollm2_depth "The capital of France is"
    """
    if system is not None and not chat:
        raise click.UsageError("--system needs --chat.")
    text = _prompt(prompt, prompt_file)
    path = weights_path(weights)
    if path is not None and path.is_dir():
        settings = trained_with(path, settings)
        path = newest(path)
    spec = load_spec(file, settings, arch, root)
    decoding = spec.causality
    if not decoding.decodable:
        raise fail("AD0809", "this model has no decoding step", note=f"{decoding.reason}.")
    tokenizer = tokenizer_for(path or _published(spec), tokenizer_path, beside=path is None)
    tokens = _encode(tokenizer, text, chat, system)
    given = None if path is None else str(path)
    model = make(spec, device=device, dtype=dtype, seed=seed, threads=threads, max_params=max_params, weights=given)
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "repetition_penalty": repetition_penalty, "seed": seed}
    _print(model, tokenizer, tokens, stream, max_new=max_new, **options)


def _published(spec: Spec) -> Path:
    """The published weights that a spec's `pretrained` parts name: their tokenizer is the model's."""
    names = {instance.pretrained for _, instance in spec.instances if instance.pretrained is not None}
    if len(names) != 1:
        raise click.UsageError(
            "give --weights: the spec names no `pretrained` ones." if not names else "give --weights: the spec names several."
        )
    from archdsl.runtime.pretrained import find_published

    return find_published(names.pop())


def _prompt(prompt: str | None, prompt_file: str | None) -> str:
    if (prompt is None) == (prompt_file is None):
        raise click.UsageError("give a PROMPT, or --prompt-file.")
    if prompt_file is None:
        text = prompt or ""
    else:
        try:
            raw = sys.stdin.buffer.read() if prompt_file == "-" else Path(prompt_file).read_bytes()
            text = raw.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise fail(
                "AD0910", f"the prompt cannot be read from {prompt_file}", note=str(error), hint="Give a file of UTF-8 text."
            ) from None
    if not text:
        raise fail("AD0910", "the prompt is empty", hint="A model needs at least one token to go on from.")
    return text


def _encode(tokenizer: Tokenizer, text: str, chat: bool, system: str | None) -> list[int]:
    if not chat:
        return tokenizer.encode(text)
    from archdsl.runtime.chat import ChatMessage, encode_chat

    messages: list[ChatMessage] = [{"role": "system", "content": system}] if system is not None else []
    return encode_chat(tokenizer, [*messages, {"role": "user", "content": text}])


def _print(model: Any, tokenizer: Tokenizer, tokens: list[int], stream: bool, **options: Any) -> None:
    from archdsl.runtime import Detokenizer
    from archdsl.runtime import generate as run

    detokenizer, pieces, times = Detokenizer(tokenizer), [], [time.perf_counter()]
    for token in run(model, tokens, stop=tokenizer.eos, **options):
        times.append(time.perf_counter())
        pieces.append(detokenizer.push(token))
        if stream:
            click.echo(pieces[-1], nl=False)
            sys.stdout.flush()
    pieces.append(detokenizer.flush())
    click.echo(pieces[-1] if stream else "".join(pieces))
    click.echo(f"[{_speed(len(tokens), times)}]", err=True)


def _speed(read: int, times: list[float]) -> str:
    """How long it took: `times` are the start, then when each token came."""
    said = f"{read} tokens read"
    if len(times) > 1:
        said += f", first token after {times[1] - times[0]:.2f} s, {len(times) - 1} generated"
    if len(times) > 2:
        said += f" at {(len(times) - 2) / max(times[-1] - times[1], 1e-9):.1f} tokens/s"
    return said
