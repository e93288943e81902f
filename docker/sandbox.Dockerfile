# What submissions run in with `--sandbox docker`; build it from the top of the repository:
#   docker build -f docker/sandbox.Dockerfile -t strict-prefix-sandbox .
FROM python:3.11-slim-bookworm

# The packages of the extra `ml`, read from where they are pinned; nothing of ours is inside.
WORKDIR /src
COPY pyproject.toml .
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print('\n'.join(p['optional-dependencies']['ml'] + ['numpy>=2.2,<3', 'zstandard>=0.25,<1']))" > needed.txt \
 && pip install --no-cache-dir -r needed.txt \
 && rm -r /src
USER nobody
WORKDIR /
