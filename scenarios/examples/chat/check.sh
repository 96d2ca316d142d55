#!/usr/bin/env bash
# Four people chat; a room ends with its node, and with a word.
# shellcheck source=.ci/processes.sh
source "$(dirname "$0")/../../../.ci/processes.sh"
build

# Who says nothing is told what would be right.
start lost "$examples/chat"
ended lost 2
grep '^error: say: ' "$desk/lost.errors"

demo=scenarios/examples/chat/run-demo.sh
export CHAT_FOLDER="$desk/chat"
CHAT_LISTEN=127.0.0.1:0 start seed "$demo" seed
expect seed 'seed listens at ([^;]*);'
export CHAT_SEED="${matched[1]}"
for number in 1 2 3; do
    start "node$number" "$demo" node "$number"
    expect "node$number" "node$number listens at "
done

# Everybody comes to know everybody.
people="seed node1 node2 node3"
for name in $people; do
    others=()
    for other in $people; do [ "$other" = "$name" ] || others+=("\*\*\* $other is here\$"); done
    expect "$name" "${others[@]}"
done

# A room is seen everywhere, with its node.
say node1 'create general'
expect node1 'create general: done'
for name in $people; do expect "$name" '\*\*\* Room general available on node1$'; done
say seed rooms
expect seed 'rooms:'
expect seed '^  general on node1$'

# Joining is once, leaving is as often as one likes.
for name in seed node2 node3; do
    say "$name" 'join general'
    expect "$name" 'join general: done'
done
say node2 'join general'
expect node2 'general: AlreadyJoined, '
say node2 'join nowhere'
expect node2 'nowhere: RoomNotFound, '
say node2 'send nowhere hello'
expect node2 'nowhere: RoomNotFound, '

# What is said is heard by all members, the speaker too.
say node2 'send general good day'
for name in seed node2 node3; do expect "$name" '\[general\] <node2> good day$'; done
for _ in 1 2; do
    say node3 'leave general'
    expect node3 'leave general: done'
done
say seed 'send general where is node3?'
for name in seed node2; do expect "$name" '\[general\] <seed> where is node3\?$'; done

# What was heard can be had from another node, by stream.
say node3 'transcript general node2'
expect node3 'transcript of general by node2:'
expect node3 '^  \[general\] <node2> good day$'
expect node3 '^  \[general\] <seed> where is node3\?$'
expect node3 '^end of transcript$'

# A member that dies is a member no more; the room goes on.
crash node2
say seed 'send general still here'
expect seed '\[general\] <seed> still here$'

# A room that is stopped is gone everywhere. One that dies with its node too; nobody makes it again.
say node3 'create short'
expect seed '\*\*\* Room short available on node3$'
say node3 'stop short'
expect seed '\*\*\* Room short left node3$'
crash node1
for name in seed node3; do expect "$name" '\*\*\* Room general left node1$'; done
start node1 "$demo" node 1
expect node1 'node1 listens at '
say node1 rooms
expect node1 'no rooms$'
say seed 'send general hello?'
expect seed 'general: RoomNotFound, '

for name in seed node1 node3; do
    say "$name" quit
    ended "$name" 0
done
