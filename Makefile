# Every recipe works in a fresh clone. `make help` lists them.

TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
OUT := $(or $(CARGO_TARGET_DIR),target)
# Tests run the binaries as they are shipped: static, so that they also work in an image from scratch. One set of flags
# for everything, so that nothing is compiled twice. With an explicit target they do not reach build scripts.
STATIC := RUSTFLAGS='-C target-feature=+crt-static'

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: ## build and push examples/hello on this machine, and show what comes out
	@tests/demo

test: deps ## every test: unit, property, snapshot, end-to-end
	@tests/run-all $(TARGET)

check: ## what CI runs: format, clippy, tests
	@.ci/run

clippy: ## all lints, warnings denied
	cargo clippy --workspace --all-targets --locked --target $(TARGET) --quiet -- -D warnings

features: ## the engine without its heavy parts: compiles, and says how many crates it then needs
	cargo check --package kiln-engine --no-default-features --locked --target $(TARGET) --quiet
	@cargo tree --package kiln-engine --no-default-features --edges normal --prefix none --locked --target $(TARGET) \
	  | sed 's/ (\*)$$//' | grep -v '^kiln-' | sort -u | wc -l

# What is published, packed as it would be and compiled from there.
UNPUBLISHED := $(foreach one,executor warmer embed benches e2e arch probe testkit skip,--exclude kiln-$(one))
package: ## every crate that can be published, into target/package
	cargo package --workspace $(UNPUBLISHED) --locked --target $(TARGET)

docs: ## documentation of all crates, warnings denied
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --target $(TARGET) --quiet

conformance: ## writes into docs/conformance.md which tests show what
	KILN_WRITE_DOCS=1 cargo test --package kiln-arch --locked --target $(TARGET) --test conformance --quiet

bench: ## kernels with criterion, whole builds side by side with buildah
	cargo bench --package kiln-benches
	tests/bench/run

binaries: ## static executor and warmer, as shipped
	$(STATIC) cargo build --locked --profile dist --target $(TARGET) --bin executor --bin warmer

# DESTINATION=registry/name:tag pushes; otherwise the image is an OCI layout in target/image. TARGET_IMAGE picks
# executor, warmer or debug.
image: binaries ## the executor's own image, assembled by the executor
	@deploy/stage-context $(OUT)/image-context $(OUT)/$(TARGET)/dist/executor $(OUT)/$(TARGET)/dist/warmer
	@rm -rf $(OUT)/image
	$(OUT)/$(TARGET)/dist/executor --context $(OUT)/image-context --target $(or $(TARGET_IMAGE),executor) --reproducible \
	  $(if $(DESTINATION),--destination $(DESTINATION),--no-push --oci-layout-path $(OUT)/image)

deps: ## Debian packages for tests and demo (installs as root)
	@.ci/packages

.PHONY: help demo test check clippy features package docs conformance bench binaries image deps
