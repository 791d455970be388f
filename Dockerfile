# For the review of artefacts: the tested versions, and the default audit by every quickly fitted attack (`make audit`).
#   docker build --tag lpla .                                          (about 6 GB: torch brings CUDA along)
#   docker run --rm --volume "$PWD/outputs:/lpla/outputs" lpla         the audit; its page is outputs/*/report.html
#   docker run --rm lpla .venv/bin/lpla --help                         any other command
FROM python:3.12-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /lpla
# First what the environment is made of, so that another change does not install it anew.
COPY pyproject.toml constraints.txt Makefile README.md LICENSE ./
COPY conf conf
COPY src src
RUN make setup
# With .git, by which rows name their revision.
COPY . .
CMD ["make", "audit"]
