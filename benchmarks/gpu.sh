#!/usr/bin/env bash
# All that is measured on a GPU, one part after the other, in at most nine minutes.
#
#   OUT=gpu bash benchmarks/gpu.sh             on a GPU, with the package installed
#   OUT=gpu SMALL=1 bash benchmarks/gpu.sh     the same parts on a CPU with small sizes, to try the script
#   OUT=gpu PARTS="blocks autotune" bash benchmarks/gpu.sh      these parts alone
#   OUT=gpu PARTS=guard CAMVID=FOLDER WEIGHTS=FILE bash benchmarks/gpu.sh   the accuracy guard: three trainings
#
# OUT gets the parts' output (NAME.txt) and JSON (NAME.json), parts.tsv (name, status, seconds), bars.json and table.txt:
# the bars, whether they are met, and all output. Parts with a bar come first, then what may be gained by a setting; one
# for which no time is left is named as such, and can be asked for by its name in a second run into the same folder.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=$(mkdir -p "${OUT:?a folder for the results}" && cd "$OUT" && pwd)
PYTHON=${PYTHON:-python}
LIMIT=${LIMIT:-540} # seconds, of the whole script
SLOWER=1      # how many times as long each part may take
PARTS=${PARTS:-}
SECONDS=0
CACHE=$(mktemp -d) # empty: the first step's seconds are those of compiling
trap 'rm -rf "$CACHE"' EXIT
export TORCHINDUCTOR_CACHE_DIR=$CACHE/shared
touch "$OUT/parts.tsv"

if [ -n "${SMALL:-}" ]; then
  LIMIT=5400 SLOWER=10
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
  device=(--device cpu)
  step=(--encoder tiny --batch 2 --crop 64 --pairs 2)
  compiled=(--encoder tiny --batch 1 --crop 64 --pairs 2 --compile --backend aot_eager)
  autotune=() graphs=()
  large=(--encoder tiny --batch 2 --crop 64)
  upsampling=(--images 2 --features 8 --side 16)
  layout=(--images 1 --features 8 --side 16 --rounds 2 --backend aot_eager)
  update=(--encoder tiny --rounds 2 --backend aot_eager)
  feed=(--encoder tiny --crop 64 --workers 1 --images 16 --block 6 --drain 2 --pairs 1)
  evaluation=(--encoder tiny --images 2 --rounds 1)
  limit=()
  guard=(trainer=debug trainer.accelerator=cpu datamodule.workers=0 recipe.crop=32)
  plain=() fast=(trainer.precision=bf16-mixed)
  CAMVID=${CAMVID:-none}
else
  device=(--device cuda)
  step=(--encoder vitb --batch 4 --precision bf16 --compile --pairs 8)
  compiled=("${step[@]}")
  autotune=(--compile-mode max-autotune-no-cudagraphs) graphs=(--compile-mode reduce-overhead)
  large=(--encoder vitl --batch 2 --precision bf16 --compile)
  upsampling=(--images 12 --features 128 --side 148)
  layout=(--images 12 --features 128 --side 148)
  update=(--encoder vitb)
  feed=(--encoder vitb --accelerator gpu --precision bf16-mixed --compile --workers 8)
  evaluation=(--encoder vitb --images 16 --rounds 3 --precision bf16 --batch 8)
  limit=(--limit-gib 24)
  guard=(dataset=camvid "dataset.root=${CAMVID:-}" encoder=efficientnet_lite0 "encoder.weights=${WEIGHTS:-null}"
    recipe.crop=320 recipe.batch_size=4 recipe.learning_rate=3e-4 method.ema_decay=0.996 trainer.val_check_interval=1500
    "trainer.max_steps=${STEPS:-3000}" datamodule.workers=6)
  plain=(trainer.accelerator=gpu) fast=(trainer=gpu trainer.compile=true)
fi

# part NAME SECONDS COMMAND...: run it for so long at most, and never beyond the whole script's limit.
part() {
  local name=$1 most=$2 left=$((LIMIT - SECONDS)) began=$SECONDS status
  shift 2
  case " ${PARTS:-$name} " in *" $name "* | *" ${name%%-*} "*) ;; *) return ;; esac
  sed -i "/^$name\t/d" "$OUT/parts.tsv" # of an earlier run
  rm -f "$OUT/$name.json" "$OUT/$name.txt"
  if [ "$left" -lt 15 ]; then
    printf '%s\tno time left\t0\n' "$name" | tee -a "$OUT/parts.tsv"
    return
  fi
  most=$((most * SLOWER))
  timeout $((most < left ? most : left)) "$@" > "$OUT/$name.txt" 2>&1
  status=$?
  printf '%s\t%s\t%s\n' "$name" "$status" $((SECONDS - began)) | tee -a "$OUT/parts.tsv"
}

# measure NAME SECONDS OPTIONS...: a part of benchmarks/step.py. cold: the same, with nothing compiled before.
measure() { part "$1" "$2" "$PYTHON" benchmarks/step.py "${device[@]}" "${@:3}" --json "$OUT/$1.json"; }
cold() { TORCHINDUCTOR_CACHE_DIR=$CACHE/$1 measure "$@" --no-baseline --no-memory --turn 5; }

part versions 30 "$PYTHON" -c 'import platform, timm, torch
number = torch.backends.cudnn.version()
print(platform.python_version(), "torch", torch.__version__, "timm", timm.__version__, "cuDNN", number)
print("cuDNN chooses its attention by itself on Hopper:", (number or 0) >= 91501)
print(torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU")'
part photos 30 "$PYTHON" -c 'import sys
from pathlib import Path
from PIL import Image
from sklearn.datasets import load_sample_images
Path(sys.argv[1]).mkdir(exist_ok=True)
for number in range(16):
    photo = Image.fromarray(load_sample_images().images[number % 2])
    photo.resize((518, 518)).save(Path(sys.argv[1]) / f"photo{number:02d}.png")' "$OUT/photos"
measure step 200 "${step[@]}" --turn 5 --profile --no-memory
measure together 80 "${step[@]}" --parts 4 --turn 5 --no-baseline --no-memory
measure memory 100 "${step[@]}" --classes 150 --pairs 0
part evaluate 60 "$PYTHON" benchmarks/evaluate.py "$OUT/photos" "${device[@]}" "${evaluation[@]}" --json "$OUT/evaluate.json"
measure large 120 "${large[@]}" "${limit[@]}" --no-baseline --pairs 0
part feed 100 "$PYTHON" benchmarks/feed.py "${feed[@]}" --json "$OUT/feed.json"
part tests 120 "$PYTHON" -m pytest -q -p no:cacheprovider -k gpu tests/methods/test_step.py tests/speed
cold blocks 120 "${compiled[@]}" --compile-blocks
cold losses 120 "${compiled[@]}" --plain-losses
cold autotune 240 "${compiled[@]}" "${autotune[@]}"
cold graphs 120 "${compiled[@]}" --compile-blocks "${graphs[@]}"
part update 120 "$PYTHON" benchmarks/update.py "${device[@]}" "${update[@]}" --json "$OUT/update.json"
part upsampling 60 "$PYTHON" benchmarks/upsampling.py "${device[@]}" "${upsampling[@]}" --json "$OUT/upsampling.json"
part layout 60 "$PYTHON" benchmarks/layout.py "${device[@]}" "${layout[@]}" --json "$OUT/layout.json"
if [ -n "${CAMVID:-}" ]; then
  train() { part "$1" 240 "$PYTHON" -m unimatch.run "${guard[@]}" "hydra.run.dir=$OUT/$1" overwrite=true "${@:2}"; }
  train guard-plain-0 "${plain[@]}" seed=0
  train guard-plain-1 "${plain[@]}" seed=1
  train guard-fast-0 "${fast[@]}" seed=0
fi

{
  "$PYTHON" benchmarks/bars.py "$OUT"
  printf '\n'
  column -t -s "$(printf '\t')" "$OUT/parts.tsv" 2> /dev/null || cat "$OUT/parts.tsv"
  for name in $(cut -f 1 "$OUT/parts.tsv"); do
    [ -f "$OUT/$name.txt" ] && printf '\n== %s\n' "$name" && tail -n 60 "$OUT/$name.txt"
  done
} > "$OUT/table.txt"
echo "$OUT/table.txt"
! cut -f 2 "$OUT/parts.tsv" | grep -qvx 0
