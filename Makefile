PYTHON ?= python3
JOBS ?= 2
DATA ?= people_small
# 30 people, half of that site, are too few to call anything near among its 240 images.
SOURCE ?= $(if $(filter people_small,$(DATA)),mall,$(DATA))
.PHONY: demo test lint types bench report gallery

.venv/installed: setup.cfg pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: .venv/installed  ## train BN, BN on standardised input, IBN-a and IBN-b on one drawn site, test on both and on a control
	.venv/bin/python tools/cross_domain.py --cfgs sites_bn.yaml sites_bn_standardised.yaml sites_ibn_a.yaml sites_ibn_b.yaml --targets plaza station station_neutral --jobs $(JOBS) --output runs/demo

test: .venv/installed
	.venv/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: .venv/installed
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/lint-imports

types: .venv/installed
	.venv/bin/mypy

bench: .venv/installed  ## loading and training against a plain loop; evaluation, re-ranking and the gallery against the pure matrix product; one thread
	OMP_NUM_THREADS=1 .venv/bin/python benchmarks/loader.py
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/retrieval.py
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/gallery.py
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/gallery_store.py
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/scale.py
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/step.py
	OMP_NUM_THREADS=1 .venv/bin/python benchmarks/start.py

report: .venv/installed  ## the grid of three sites, three models, three seeds and the remedies, and its page runs/report/index.html
	.venv/bin/python tools/cross_domain.py --benchmark sites.yaml --jobs $(JOBS) --output runs/report
	.venv/bin/python tools/report.py runs/report

gallery: .venv/installed  ## a gallery of rendered people by the network of the package, thresholds from another rendered place, as a web page; or DATA=pku_reid_all
	.venv/bin/python tools/search.py add --store runs/gallery_$(DATA) --data $(DATA)
	.venv/bin/python tools/search.py calibrate --store runs/gallery_$(DATA) --source $(SOURCE) $(if $(filter $(SOURCE),$(DATA)),,--targets $(DATA))
	.venv/bin/python tools/gallery.py --store runs/gallery_$(DATA)
