# shellcheck shell=bash
# What `up` and `down` share: where things lie, and which processes are ours.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
local_dir=$root/.local
# In the order in which they start; they stop the other way round.
# shellcheck disable=SC2034 # read by those who source this
programs=(redis fake-fcm api-server chat-gateway-1 chat-gateway-2)

say() { printf '%s\n' "$*"; }
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# PostgreSQL refuses to run as root.
as_database_user() {
  if [[ $(id -u) -ne 0 ]]; then
    "$@"
  elif command -v runuser >/dev/null; then
    (cd / && runuser -u postgres -- "$@")
  else
    (cd / && sudo -u postgres "$@")
  fi
}

# Debian keeps the server's programs out of PATH, and so does Homebrew's postgresql@N. The newest wins.
postgres_bin() {
  local candidate newest=''
  candidate=$(dirname "$(command -v initdb || true)")
  if [[ -x $candidate/initdb && -x $candidate/postgres && -x $candidate/pg_ctl ]]; then
    printf '%s\n' "$candidate"
    return
  fi
  while IFS= read -r candidate; do
    newest=$candidate
  done < <(
    for candidate in /usr/lib/postgresql/*/bin {/opt/homebrew,/usr/local,/home/linuxbrew/.linuxbrew}/opt/postgresql@*/bin; do
      if [[ -x $candidate/initdb && -x $candidate/postgres ]]; then
        printf '%s %s\n' "$(printf '%s' "$candidate" | sed 's/[^0-9]//g')" "$candidate"
      fi
    done | sort -n | cut -d ' ' -f 2-
  )
  [[ -n $newest ]] && printf '%s\n' "$newest"
}

# Where the tables lie: said by a file, as it may have to be elsewhere (see `up`).
postgres_data() { cat "$local_dir/postgres-data" 2>/dev/null; }

# pg_ctl makes sure itself that a process id is a server's, and this directory's.
postgres_is_running() {
  local data
  data=$(postgres_data) && as_database_user "$(postgres_bin)/pg_ctl" status -D "$data/cluster" >/dev/null 2>&1
}

command_line() {
  if [[ -r /proc/$1/cmdline ]]; then
    tr '\0' ' ' <"/proc/$1/cmdline"
  else
    ps -o args= -p "$1" 2>/dev/null || true
  fi
}

# The id of a program of ours that runs. Its file holds the id and a part of the command line: an id alone may
# belong to somebody else by now, after a restart of the machine for instance.
running_pid() {
  local pid mark
  { read -r pid && read -r mark; } 2>/dev/null <"$local_dir/run/$1" || return 1
  [[ $(command_line "$pid") == *"$mark"* ]] && printf '%s\n' "$pid"
}
