# Thin names for tools/dev.py, which does the same on systems without make: python tools/dev.py demo
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BLENDER ?= best

.PHONY: demo test test-gui setup lint bench
demo test test-gui setup lint bench:
	$(if $(PYTHON),,$(error Scumble needs Python 3.11 or newer; none was found))
	$(PYTHON) tools/dev.py $@ --blender $(BLENDER)
