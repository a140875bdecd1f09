#!/usr/bin/env bash
# One prepared run on a GPU, at most eight minutes on an H100: bash benchmarks/gpu.sh DATA OUT
# It needs Python 3.11 or later with torch, numpy, scipy, scikit-learn and safetensors, and this
# checkout; nothing is installed. PYTHON=... names another interpreter. See gpu.py for the rest.
set -euo pipefail
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu.py" "$@"
