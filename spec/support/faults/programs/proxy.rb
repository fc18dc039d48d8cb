# frozen_string_literal: true

# A TCP proxy in front of PostgreSQL, a process of its own so that nobody's threads hold it up. It does what stands on
# its standard input, a command a line, and answers each with a line:
#   upstream ADDRESS   from now on new connections go there: HOST:PORT, or the path of a Unix socket
#   cut                closes every connection
#   blackhole          holds everything: forwards nothing, answers nothing, accepts and is silent
#   heal               serves new connections again; those that were held stay dead, and nobody has told their ends
#   held               prints how many of those there still are: their clients have not given them up
#   lose NAME          the second answer from now to a statement that calls stepwell.NAME and did something is read to
#                      its end and lost, its connection closed; then prints "lost NAME"
require "socket"
require_relative "proxy/frames"
require_relative "proxy/trap"
require_relative "proxy/link"
require_relative "proxy/board"

Thread.report_on_exception = true
listener = TCPServer.new("127.0.0.1", 0)
board = Board.new(ENV.fetch("UPSTREAM"))
Thread.new { loop { board.serve(listener.accept) } }

puts "started #{listener.addr[1]}"
while (line = $stdin.gets)
  command, argument = line.split
  answer = "done"
  case command
  when "upstream" then board.upstream = argument
  when "cut" then board.cut
  when "blackhole" then board.blackhole
  when "heal" then board.heal
  when "held" then answer = board.held
  when "lose" then board.trap.arm(argument) { puts "lost #{argument}" }
  end
  puts answer unless command == "lose"
end
exit! # connections that hang are no reason to wait
