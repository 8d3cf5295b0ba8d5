# shellcheck shell=bash
# The progress of a script. Each part of its work has a line on stderr. A terminal shows its changes; other outputs
# get a line every ten seconds. Times count from the start of the command that the user gave.

shopt -s lastpipe # so that `part` has what `follow` counted
export KUBECI_BEGAN=${KUBECI_BEGAN:-${EPOCHREALTIME/[.,]/}}

say() { printf '%8s  %s\n' "$(seconds_since "$KUBECI_BEGAN")" "$*"; }

seconds_since() {
  local tenths=$(((${EPOCHREALTIME/[.,]/} - $1) / 100000))
  echo "$((tenths / 10)).$((tenths % 10)) s"
}

# part NAME COUNT TITLE COMMAND...: runs the command with its output in target/log/NAME.log. COUNT is what is counted in
# that: cargo (its own counter), tests, modules, packages/TOTAL (that Go builds), or nothing.
part() {
  local log=$log_dir/$1.log count=$2 title=$3 began=${EPOCHREALTIME/[.,]/} progress='' took
  local -A counted=()
  shift 3
  mkdir -p "$log_dir"
  export CARGO_TERM_{QUIET=false,VERBOSE=false,COLOR=never,PROGRESS_WHEN=always,PROGRESS_WIDTH=80}
  if "$@" </dev/null 2>&1 9>&- | follow 3>"$log"; then
    show "$title$progress, took $(seconds_since "$began")"
    return
  fi
  show "$title$progress: FAILED after $(seconds_since "$began")"
  excerpt "$log" >&2
  printf 'The whole output is in %s\n' "$log" >&2
  return 1
}

# follow: reads the output of a part's command, writes it to descriptor 3, and shows how far it is
follow() {
  local line='' piece status shown=$began
  while :; do
    status=0
    IFS= read -r -t 1 piece || status=$?
    line+=$piece
    [[ ! $line =~ .*Building\ \[[^]]*\]\ ([0-9]+/[0-9]+) ]] || progress=" ${BASH_REMATCH[1]}"
    if ((status <= 128)); then
      # cargo writes its counter and what it has to say into one line
      line=${line##*$'\r'}
      ((status == 0)) || [[ $line ]] || return 0
      printf '%s\n' "$line" >&3
      count "$line"
      ((status == 0)) || return 0
      line=''
    fi
    show_now_and_then
  done
}

count() {
  case $count:$1 in
    cargo:*' Blocking '*) progress=' waits for another cargo' ;;
    cargo:*' Downloaded '*) tally crates && progress=" ${counted[crates]} crates" ;;
    modules:'go: downloading '*) tally modules && progress=" ${counted[modules]}" ;;
    packages/*:*[\ :]*) ;;
    packages/*) tally packages && progress=" ${counted[packages]}/${count#*/}" ;;
    tests:test\ *' ... ok') tally passed ;;&
    tests:test\ *' ... FAILED') tally failed ;;&
    tests:*) progress=" ${counted[passed]:-0} passed, ${counted[failed]:-0} failed" ;;
  esac
}

tally() { counted[$1]=$((${counted[$1]:-0} + 1)); }

is_terminal() { [[ -t 2 && ${TERM:-dumb} != dumb ]]; }

show() {
  ! is_terminal || printf '\r\033[K' >&2
  say "$*" >&2
}

show_now_and_then() {
  local now=${EPOCHREALTIME/[.,]/} line
  if is_terminal && ((now - shown > 200000)); then
    line=$(say "$title$progress")
    printf '\r\033[K%s' "${line:0:79}" >&2
  elif ! is_terminal && ((now - shown > 10000000)); then
    say "$title$progress" >&2
  else
    return 0
  fi
  shown=$now
}

# excerpt LOG: prints the errors of a part that failed
excerpt() {
  local status='Compiling|Checking|Downloading|Downloaded|Blocking|Locking|Updating|Running|Doc-tests|Executable|Finished'
  case $count in
    cargo | tests) grep -vE "^(test .* \\.\\.\\. (ok|ignored.*)|running [0-9]+ tests?|test result: ok.*| +($status) .*)\$" "$1" | cat -s ;;
    *) tail -n 20 "$1" ;;
  esac
}
