#!/usr/bin/env bash
# Everything in results/laboratory: benchmarks/laboratory.sh [PART...], all parts without one (some hours on two cores).
# It needs the extra dev in the active environment, for deepinv and the outside networks. Each part can be interrupted
# and run again. DATA holds the test sets, PHOTOS the training photographs, WEIGHTS the backbone of LPIPS and the outside
# networks of the swap; the two bridges are trained as docs/training.md says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
DATA=${DATA:?a folder with test/ and train/} WEIGHTS=${WEIGHTS:?a folder with the weights of LPIPS}
PHOTOS=${PHOTOS:-$DATA/train} DATA=$DATA/test
OUT=runs/laboratory
PMRF=runs/pmrf/bridge.safetensors INDI=runs/indi/bridge.safetensors

keep() { # the page of a part, its values image by image, and the plots that docs/laboratory.md and docs/samples.md show
  mkdir -p results/laboratory
  cp "$OUT/$1/results.md" "results/laboratory/$1.md"
  cp "$OUT/$1/results.csv" "results/laboratory/$1.csv"
  local shown
  for shown in methods-plane-Kodak24 tau-held-out-curves detail-held-out-curves; do
    if [[ $shown == "$1"-* ]]; then cp "$OUT/$1/${shown#"$1"-}.svg" "results/laboratory/$shown.svg"; fi
  done
}

methods() { # all methods with the same frozen networks
  dp-ir evaluate 'DP-IR, 8 steps=sr4-estimate' 'DP-IR, 4 steps=sr4-estimate,steps=4' 'DP-IR, 2 steps=sr4-estimate,steps=2' \
    'DP-IR, 8 steps from tau 200=sr4-estimate,tau=200' 'DP-IR, 4 steps from tau 100=sr4-estimate,tau=100,steps=4' bicubic \
    'restorer=restorer:sr4' 'restorer + noise=noise:sr4' 'restorer + noise (half scale)=noise:sr4,metric=lpips-half' \
    'SDEdit, 20 calls=sdedit:sr4' 'CCDF, 20 calls=ccdf:sr4' 'DiffPIR, 20 calls=diffpir:sr4,steps=20' \
    'DDRM, 20 calls=ddrm:sr4' "PMRF, 8 steps=bridge:$PMRF,restorer=sr4" \
    "PMRF, 25 steps=bridge:$PMRF,restorer=sr4,steps=25" "InDI, 8 steps=bridge:$INDI" \
    --data "$DATA/Set14" --data "$DATA/Kodak24" --out "$OUT/methods" --weights "$WEIGHTS"
}
other-sets() { # small smooth images, and many natural ones
  dp-ir evaluate 'DP-IR, 8 steps=sr4-estimate' 'restorer=restorer:sr4' 'restorer + noise=noise:sr4' \
    --data "$DATA/Set5" --data "$DATA/CBSD68" --out "$OUT/other-sets" --weights "$WEIGHTS"
}
detail() { # the dial of sr4 against the straight line between mean and sample
  ablate detail --metric psnr --metric lpips --metric lpips-half --metric bands
}
tau() { ablate tau; }
steps() { ablate steps; }
sampler() { ablate sampler 4 8 16; }
start() { ablate start; }
restorer() { ablate restorer; }
denoiser() { ablate denoiser; }
swap() {
  dp-ir ablate swap --bundle sr4-rlfn --restorer "RLFN=$WEIGHTS/rlfn_x4.pth" --restorer "CRAFT=$WEIGHTS/craft_x4.pth" \
    --restorer ours=sr4 --denoiser "FFDNet=$WEIGHTS/ffdnet_color.pth" --data "$DATA/Set14" \
    --out "$OUT/swap" --weights "$WEIGHTS"
}
fusion() {
  ablate fusion --photos "$PHOTOS" --train-steps 1500 --override-recipe optim.batch=8 --override-recipe data.patch=48
}
sampling() { # how the bundle is sampled was chosen here
  local methods=()
  for sampler in dpmpp-2m ddim; do
    for tau in 400 500 600; do methods+=("$sampler from tau $tau=sr4-estimate,tau=$tau,sampler=$sampler"); done
  done
  held-out sampling "${methods[@]}" restorer=restorer:sr4 'restorer + noise=noise:sr4'
}
baselines() { # and so were the settings of the other methods
  local methods=(DP-IR=sr4-estimate restorer=restorer:sr4)
  for tau in 50 100 200 300; do methods+=("SDEdit from tau $tau=sdedit:sr4,tau=$tau"); done
  for tau in 300 400 500 600; do methods+=("CCDF from tau $tau=ccdf:sr4,tau=$tau"); done
  for eta in 0.3 0.5 0.85; do methods+=("DDRM, eta $eta=ddrm:sr4,eta=$eta"); done
  for zeta in 0.1 0.3 0.8; do methods+=("DiffPIR, zeta $zeta, 20 calls=diffpir:sr4,zeta=$zeta,steps=20"); done
  held-out baselines "${methods[@]}" 'DDRM as published=ddrm:sr4,eta=0.85,spacing=uniform-t'
}
held-out() { # methods on central crops of the photographs that were held out of training
  local part=$1
  shift
  dp-ir evaluate "$@" --data "$OUT/held-out" --out "$OUT/$part" --weights "$WEIGHTS"
}
ablate() { # a study on them crops of the photographs that were held out of training
  local study=$1
  shift
  dp-ir ablate "$study" "$@" --data "$OUT/held-out" --out "$OUT/$study" --weights "$WEIGHTS"
}

parts=(detail methods other-sets tau steps sampler start restorer denoiser swap fusion sampling baselines)
python tools/held_out_crops.py --data "$PHOTOS" --out "$OUT/held-out"
for part in "${@:-${parts[@]}}"; do
  "$part"
  keep "$part"
done
