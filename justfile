# Verbs of daily work. Each is a plain command: read it here, or run it by `just NAME`.

# Formatting, lints and all tests; under two minutes when warm.
quick:
    ./test quick

# Everything that must hold before a change lands.
test:
    ./test

# Tests of all crates whose name contains NAME, e.g. `just test-one up::restarts`.
test-one NAME:
    cargo test --workspace -- {{NAME}}

# Break the code on purpose and demand that a test sees it; without NAME all breaks.
sabotage *NAME:
    tools/sabotage {{NAME}}

# Run one fuzz target for SECONDS, or all for a few seconds each.
fuzz TARGET="" SECONDS="60":
    tools/fuzz-smoke {{SECONDS}} {{TARGET}}

# Regenerate manual pages, completions, the schema and the reference of sexton.yaml; build the API documentation.
docs:
    UPDATE_DOCUMENTS=1 cargo test -p sexton -- documents schema
    cargo doc --workspace --no-deps --document-private-items

# Run a benchmark, e.g. `just bench many-processes --runs 3`.
bench NAME *ARGS:
    bench/{{NAME}} {{ARGS}}

# The direction of dependencies between crates and modules.
layers:
    tools/check-layers

# The binary for distribution.
dist:
    cargo build --profile dist
