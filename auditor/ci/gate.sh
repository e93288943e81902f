#!/bin/sh
# Audits a change without checking it out, for any CI:
#
#   gate.sh REPOSITORY BASE HEAD OUTPUT [options of `auditor gate`]
#
# REPOSITORY is a URL or a folder, BASE and HEAD are refs or commits of it. Both are fetched into an
# empty bare repository; nothing of the change is laid out as files or executed. OUTPUT gets gate.json
# and its other forms: report.txt, report.html, comment.md, results.sarif, junit.xml, and the exit
# code in `code`. AUDITOR names the command, `auditor` by default. GIT_TOKEN, where it is set, is
# shown to the server of an https REPOSITORY and to nobody else.
#
# Exit codes are those of `auditor gate`: 0 pass, 1 fail, 2 could not audit, 3 inconclusive.
set -eu

if [ "$#" -lt 4 ]; then
    echo "gate.sh: expected REPOSITORY BASE HEAD OUTPUT, got $# arguments" >&2
    exit 2
fi
repository=$1 base=$2 head=$3 output=$4
shift 4
auditor=${AUDITOR:-auditor}

if [ -d "$repository" ]; then
    repository=$(cd -- "$repository" && pwd -P)
fi
mkdir -p -- "$output"
output=$(cd -- "$output" && pwd -P)
rm -f -- "$output/gate.json" "$output/code" "$output/comment.md"

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
# No prompt, and no module from the folder that this is called in.
export GIT_TERMINAL_PROMPT=0 PYTHONSAFEPATH=1
git init -q --bare "$work/change.git"
fetch() {
    git -C "$work/change.git" fetch -q --no-tags --no-recurse-submodules -- "$repository" \
        "+$base:refs/gate/base" "+$head:refs/gate/head"
}
if [ -n "${GIT_TOKEN:-}" ]; then
    basic=$(printf 'x-access-token:%s' "$GIT_TOKEN" | base64 | tr -d '\n')
    unset GIT_TOKEN
    fetched=0
    # By environment, because arguments can be seen by every process of the machine.
    (
        export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="http.$repository.extraHeader"
        export GIT_CONFIG_VALUE_0="Authorization: Basic $basic"
        fetch
    ) || fetched=$?
else
    fetched=0
    fetch || fetched=$?
fi

code=2
if [ "$fetched" -ne 0 ]; then
    echo "gate.sh: $base and $head cannot be fetched from $repository" >&2
else
    cd -- "$work"
    code=0
    "$auditor" gate --repo "$work/change.git" --base refs/gate/base --head refs/gate/head \
        --format json --output "$output/gate.json" "$@" || code=$?
fi
if [ -s "$output/gate.json" ]; then
    render() {
        "$auditor" render "$output/gate.json" --format "$1" --output "$output/$2"
    }
    render text report.txt
    render html report.html
    render markdown comment.md
    render sarif results.sarif
    render junit junit.xml
    cat -- "$output/report.txt"
else
    printf '%s\n' '<!-- strict-prefix -->' '### Strict Prefix: could not audit' '' \
        'The reason stands in the log of the run.' >"$output/comment.md"
fi
printf '%s\n' "$code" >"$output/code"
exit "$code"
