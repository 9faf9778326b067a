#!/usr/bin/env bash
# Trains the demo model and its adapters: data on all cores beside the GPU, two pieces of 8.8 and 5 minutes, adapters.
# A piece can be run alone on a fresh machine: it makes the shards it needs and takes up the piece before it.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=build/demo_model
shards=${SHARDS:-$work/shards}

piece() {  # first shard, how many, then the arguments of train
  local first=$1 count=$2
  shift 2
  python3 -m tools.demo_model.shards --tokenizer $work/tokenizer.json --output "$shards" --first "$first" --count "$count" &
  python3 -m tools.demo_model.train --shards "$shards" --first "$first" --count "$count" "$@"
  wait
}

case ${1:-all} in
  piece1 | all) piece 0 450 --minutes 8.8 --until 0.64 --save $work/piece1 ;;&
  piece2 | all) piece 450 240 --minutes 5 --from 0.64 --resume $work/piece1 --per-maker 300 --save $work/piece2 ;;&
  adapters | all) python3 -m tools.demo_model.lora --weights $work/piece2 --output $work/adapters ;;
esac
