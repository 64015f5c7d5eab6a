#!/bin/sh
# Two machines with 8 GPUs each: start this on both, with HEAD set to the first one's name. One machine: NODES=1.
# out= must be one folder that all machines share. A stopped run goes on when it is started again.
NODES=${NODES:-2} GPUS=${GPUS:-8} HEAD=${HEAD:-localhost}
exec torchrun --nnodes="$NODES" --nproc-per-node="$GPUS" --rdzv-backend=c10d --rdzv-endpoint="$HEAD:29400" \
  --rdzv-id="${RUN:-pawtrait}" -m finetune.cli trainer=gpu "$@"
