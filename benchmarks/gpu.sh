#!/usr/bin/env bash
# All that is measured on a GPU, one part after the other, in at most nine minutes.
#
#   OUT=gpu bash benchmarks/gpu.sh             on a GPU, with the package installed
#   OUT=gpu SMALL=1 bash benchmarks/gpu.sh     the same parts on a CPU with small sizes, to try the script
#
# OUT gets the parts' output (NAME.txt) and JSON (NAME.json), parts.tsv (name, status, seconds) and table.txt, all of it.
# The most wanted part is first; one for which no time is left is named as such.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=$(mkdir -p "${OUT:?a folder for the results}" && cd "$OUT" && pwd)
PYTHON=${PYTHON:-python}
LIMIT=${LIMIT:-540} # seconds, of the whole script
SLOWER=1      # how many times as long each part may take
SECONDS=0
: > "$OUT/parts.tsv"

if [ -n "${SMALL:-}" ]; then
  LIMIT=5400 SLOWER=10
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
  device=(--device cpu)
  step=(--encoder tiny --batch 2 --crop 64 --pairs 2)
  large=(--encoder tiny --batch 2 --crop 64)
  upsampling=(--images 2 --features 8 --side 16)
  feed=(--encoder tiny --crop 64 --workers 1 --images 16 --block 6 --drain 2 --pairs 1)
  evaluation=(--encoder tiny --images 2 --rounds 1)
  limit=()
else
  device=(--device cuda)
  step=(--encoder vitb --batch 4 --precision bf16 --compile --pairs 8)
  large=(--encoder vitl --batch 2 --precision bf16 --compile)
  upsampling=(--images 12 --features 128 --side 148)
  feed=(--encoder vitb --accelerator gpu --precision bf16-mixed --compile --workers 8)
  evaluation=(--encoder vitb --images 16 --rounds 3 --precision bf16)
  limit=(--limit-gib 24)
fi

# part NAME SECONDS COMMAND...: run it for so long at most, and never beyond the whole script's limit.
part() {
  local name=$1 most=$2 left=$((LIMIT - SECONDS)) began=$SECONDS status
  shift 2
  if [ "$left" -lt 15 ]; then
    printf '%s\tno time left\t0\n' "$name" | tee -a "$OUT/parts.tsv"
    return
  fi
  most=$((most * SLOWER))
  timeout $((most < left ? most : left)) "$@" > "$OUT/$name.txt" 2>&1
  status=$?
  printf '%s\t%s\t%s\n' "$name" "$status" $((SECONDS - began)) | tee -a "$OUT/parts.tsv"
}

part versions 30 "$PYTHON" -c 'import platform, timm, torch
print(platform.python_version(), "torch", torch.__version__, "timm", timm.__version__, "cuDNN", torch.backends.cudnn.version())
print(torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU")'
part photos 30 "$PYTHON" -c 'import sys
from pathlib import Path
from PIL import Image
from sklearn.datasets import load_sample_images
for number in range(16):
    photo = Image.fromarray(load_sample_images().images[number % 2])
    photo.resize((518, 392)).save(Path(sys.argv[1]) / f"photo{number:02d}.png")' "$OUT"
part step 200 "$PYTHON" benchmarks/step.py "${device[@]}" "${step[@]}" --turn 5 --profile --no-memory --json "$OUT/step.json"
part tests 90 "$PYTHON" -m pytest -q -p no:cacheprovider -k gpu tests/methods/test_step.py tests/speed/test_upsampling.py
part memory 100 "$PYTHON" benchmarks/step.py "${device[@]}" "${step[@]}" --classes 150 --pairs 0 --json "$OUT/memory.json"
part together 80 "$PYTHON" benchmarks/step.py "${device[@]}" "${step[@]}" --parts 4 --no-baseline --json "$OUT/together.json"
part large 150 "$PYTHON" benchmarks/step.py "${device[@]}" "${large[@]}" "${limit[@]}" --no-baseline --pairs 0 \
  --json "$OUT/large.json"
part upsampling 60 "$PYTHON" benchmarks/upsampling.py "${device[@]}" "${upsampling[@]}"
part evaluate 60 "$PYTHON" benchmarks/evaluate.py "$OUT" "${device[@]}" "${evaluation[@]}" --json "$OUT/evaluate.json"
part feed 120 "$PYTHON" benchmarks/feed.py "${feed[@]}" --json "$OUT/feed.json"

{
  column -t -s "$(printf '\t')" "$OUT/parts.tsv" 2> /dev/null || cat "$OUT/parts.tsv"
  for name in $(cut -f 1 "$OUT/parts.tsv"); do
    [ -f "$OUT/$name.txt" ] && printf '\n== %s\n' "$name" && tail -n 60 "$OUT/$name.txt"
  done
} > "$OUT/table.txt"
echo "$OUT/table.txt"
! cut -f 2 "$OUT/parts.tsv" | grep -qvx 0
