# shellcheck shell=bash
# How `up` starts each part. Every function does nothing when its part runs.

# shellcheck source=deploy/local/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# cargo takes a relative one from where it runs, which is the root.
bin_dir=$(cd "$root" && mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd -P)/debug

is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The port that something had before, or the first free one from $2 on; none twice.
port_of() {
  local file=$local_dir/ports/$1 port=${2:-}
  if [[ ! -s $file ]]; then
    while is_taken "$port" || grep -qsx "$port" "$local_dir"/ports/*; do
      port=$((port + 1))
    done
    printf '%s\n' "$port" >"$file"
  fi
  cat "$file"
}

# For something that does not run: meanwhile its port may have been taken.
leave_taken_port() {
  local file=$local_dir/ports/$1
  if [[ -s $file ]] && is_taken "$(<"$file")"; then
    say "port $(<"$file") of $1 is another program's by now; choosing a new one"
    rm "$file"
  fi
}

secret() {
  local file=$local_dir/secrets/$1
  [[ -s $file ]] || head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$file"
  cat "$file"
}

show_log_and_fail() {
  printf -- '--- the end of %s:\n' "$2" >&2
  tail -n 25 "$2" >&2 || true
  fail "$1"
}

all_run() {
  local name
  postgres_is_running || return 1
  for name in "${programs[@]}"; do
    running_pid "$name" >/dev/null || return 1
  done
}

# remember NAME PID MARK: see running_pid.
remember() { printf '%s\n%s\n' "$2" "$3" >"$local_dir/run/$1"; }

# launch NAME COMMAND…: runs on when this terminal is closed.
launch() {
  local name=$1 detach=()
  shift
  say "starting $name"
  # macOS has no setsid; nohup alone does all but survive a signal to the whole group.
  command -v setsid >/dev/null && detach=(setsid)
  ${detach[@]+"${detach[@]}"} nohup "$@" >>"$local_dir/log/$name.log" 2>&1 </dev/null &
  remember "$name" "$!" "$*"
}

# wait_ready NAME COMMAND…: until the command succeeds.
wait_ready() {
  local name=$1 log=$local_dir/log/$1.log deadline=$((SECONDS + 60))
  shift
  until "$@" >/dev/null 2>&1; do
    running_pid "$name" >/dev/null || show_log_and_fail "$name has ended" "$log"
    [[ $SECONDS -lt $deadline ]] || show_log_and_fail "$name is not ready after 60 s" "$log"
    sleep 0.2
  done
}

answers() { curl -fsS --noproxy '*' --max-time 2 -o /dev/null "$1"; }

start_postgres() {
  local bin data port
  bin=$(postgres_bin)
  if ! postgres_is_running; then
    leave_taken_port postgres
    create_postgres "$bin"
    data=$(postgres_data)
    port=$(port_of postgres 5433)
    say 'starting postgres'
    as_database_user "$bin/pg_ctl" start -w -t 60 -D "$data/cluster" -l "$data/log" \
      -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories= -c max_connections=200" \
      >/dev/null || show_log_and_fail 'postgres does not start' "$data/log"
  fi
  create_database "$bin"
}

# In a subshell: the password is nobody else's business.
create_database() (
  PGPASSWORD=$(secret postgres)
  export PGPASSWORD
  # Installed beside the server, or only as a client in PATH.
  PATH=$1:$PATH
  psql=(psql -h 127.0.0.1 -p "$(port_of postgres)" -U naru -d postgres -qtAX)
  if [[ $("${psql[@]}" -c "SELECT 1 FROM pg_database WHERE datname = 'naru'") != 1 ]]; then
    "${psql[@]}" -c 'CREATE DATABASE naru'
  fi
)

create_postgres() {
  local bin=$1 data=$local_dir/postgres
  if [[ ! -s $local_dir/postgres-data ]]; then
    if ! as_database_user test -x "$local_dir"; then
      data=/var/tmp/naru-local-$(printf %s "$root" | cksum | cut -d ' ' -f 1)
      say "the user postgres may not enter $local_dir, so the database's data goes to $data"
    fi
    printf '%s\n' "$data" >"$local_dir/postgres-data"
  fi
  data=$(postgres_data)
  [[ ! -d $data/cluster ]] || return 0
  say "creating a database in $data"
  # Made aside and moved: the next run would take half a cluster for a whole one.
  rm -rf "$data"
  mkdir "$data"
  secret postgres >"$data/password"
  [[ $(id -u) -ne 0 ]] || chown -R postgres "$data"
  as_database_user "$bin/initdb" -D "$data/new" -U naru --pwfile="$data/password" --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C >"$local_dir/log/initdb.log" 2>&1 ||
    show_log_and_fail 'initdb failed' "$local_dir/log/initdb.log"
  rm "$data/password"
  mv "$data/new" "$data/cluster"
}

start_redis() {
  running_pid redis >/dev/null && return
  leave_taken_port redis
  local port pid
  port=$(port_of redis 6380)
  # The password in a file, as everybody may read a command line. Nothing is saved: gateways register anew.
  printf '%s\n' 'bind 127.0.0.1' "port $port" "requirepass $(secret redis)" 'save ""' 'appendonly no' \
    >"$local_dir/redis.conf"
  launch redis redis-server "$local_dir/redis.conf"
  # Redis puts its address in the place of its arguments, a moment after its start.
  pid=$(head -n 1 "$local_dir/run/redis")
  remember redis "$pid" redis-server
  wait_ready redis redis_answers "$port"
  remember redis "$pid" "$(command_line "$pid")"
}

# redis-cli ends well even when its question was refused.
redis_answers() { [[ $(REDISCLI_AUTH=$(secret redis) redis-cli -h 127.0.0.1 -p "$1" PING) == PONG ]]; }

start_fake_fcm() {
  running_pid fake-fcm >/dev/null && return
  leave_taken_port fake-fcm
  local port account=$local_dir/secrets/fcm-service-account.json
  port=$(port_of fake-fcm 9099)
  launch fake-fcm "$bin_dir/fake-fcm" --listen "127.0.0.1:$port" --service-account-out "$account"
  wait_ready fake-fcm answers "http://127.0.0.1:$port/pushes"
}

# What both services are told the same way.
export_common() {
  secret jwt >/dev/null
  secret internal >/dev/null
  export NARU_JWT_SECRET_FILE=$local_dir/secrets/jwt NARU_INTERNAL_SECRET_FILE=$local_dir/secrets/internal
  REDIS_URL=redis://:$(secret redis)@127.0.0.1:$(port_of redis)
  export REDIS_URL
}

start_api_server() {
  running_pid api-server >/dev/null && return
  leave_taken_port api-server
  leave_taken_port api-server-internal
  local port internal
  port=$(port_of api-server 8080)
  internal=$(port_of api-server-internal 8090)
  (
    export_common
    DATABASE_URL=postgres://naru:$(secret postgres)@127.0.0.1:$(port_of postgres)/naru
    NARU_FCM_ENDPOINT=http://127.0.0.1:$(port_of fake-fcm)
    export DATABASE_URL NARU_FCM_ENDPOINT
    export NARU_FCM_SERVICE_ACCOUNT=$local_dir/secrets/fcm-service-account.json
    launch api-server "$bin_dir/api-server" --listen "127.0.0.1:$port" --internal-listen "127.0.0.1:$internal"
  )
  wait_ready api-server answers "http://127.0.0.1:$port/readyz"
}

# start_gateway NUMBER PUBLIC_PORT INTERNAL_PORT
start_gateway() {
  local name=chat-gateway-$1 port internal
  running_pid "$name" >/dev/null && return
  leave_taken_port "$name"
  leave_taken_port "$name-internal"
  port=$(port_of "$name" "$2")
  internal=$(port_of "$name-internal" "$3")
  (
    export_common
    NARU_API_URL=http://127.0.0.1:$(port_of api-server-internal)
    export NARU_API_URL NARU_ADVERTISE_URL=http://127.0.0.1:$internal NARU_PUBLIC_URL=ws://127.0.0.1:$port/ws
    launch "$name" "$bin_dir/chat-gateway" --listen "127.0.0.1:$port" --internal-listen "127.0.0.1:$internal"
  )
  wait_ready "$name" answers "http://127.0.0.1:$internal/readyz"
}
