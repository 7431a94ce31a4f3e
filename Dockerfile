# The software for GPUs, at the versions of constraints.txt. It has not been built or run on a GPU yet.
#
#   docker build -t alignment .
#   docker run --gpus all --ipc=host -v "$HOME/.cache/huggingface:/root/.cache/huggingface" -v "$PWD/outputs:/app/outputs" \
#       alignment make train RECIPE=gemma2-simpo
FROM nvidia/cuda:12.8.1-devel-ubuntu24.04

ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends build-essential git make software-properties-common \
    && add-apt-repository -y ppa:deadsnakes/ppa \
    && apt-get install -y --no-install-recommends python3.11 python3.11-dev python3.11-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY . .
RUN make install && rm -rf /root/.cache/pip

# FlashAttention needs to see the GPU: run `make install-flash` in the container once.
CMD ["make", "help"]
