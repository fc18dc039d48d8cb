# frozen_string_literal: true

# One connection of a client, and the one to the server that stands for it.
class Link
  # @param client [Socket]
  # @param server [Socket, nil] none for a connection that was made in the dark
  # @param trap [Trap]
  def initialize(client, server, trap)
    @client = client
    @server = server
    @trap = trap
    @statements = {}
    @syncs = 1 # the start of the session is answered like a statement
    @readies = 0
    @answer = []
  end

  # @yieldparam link [Link] itself, when it has ended
  def run(&ended)
    @dark = @server.nil?
    threads = [Thread.new { forward }, *(Thread.new { backward } if @server)]
    Thread.new do
      threads.first.join
      ended.call(self)
    end
  end

  # From now on nothing passes.
  def darken
    @dark = true
  end

  def dark?
    @dark
  end

  # Closes both ends.
  def close
    [@client, @server].compact.each do |socket|
      socket.close
    rescue IOError, SystemCallError
      next
    end
  end

  private

  # From the client to the server, until the client closes.
  def forward
    frames = Frames.new(startup: true)
    pump(@client) do |bytes|
      frames.take(bytes).each { |frame| read_request(frame) }
      @server.write(bytes)
    end
  end

  # From the server to the client.
  def backward
    frames = Frames.new(startup: false)
    pump(@server) do |bytes|
      passed = frames.take(bytes).map { |frame| read_answer(frame) }.join
      @client.write(passed) unless passed.empty? || @dark
    end
    close unless @dark # a client in the dark does not hear of the server's end
  end

  def pump(socket)
    loop do
      bytes = socket.readpartial(1 << 16)
      yield bytes unless @dark
    end
  rescue IOError, SystemCallError
    nil
  end

  # Parse brings a statement's text, Bind and Query execute one, Sync and Query ask for a ReadyForQuery.
  def read_request(frame)
    case frame[0]
    when "P" then name, sql = frame.byteslice(5..).split("\0", 3)
    when "B" then executed = @statements[frame.byteslice(5..).split("\0", 3)[1]]
    when "Q" then executed = frame.byteslice(5..)
    end
    @statements[name] = sql if name
    @target ||= @syncs + 1 if executed && @trap.catch?(executed)
    @syncs += 1 if %w[S Q].include?(frame[0])
  end

  # @return [String] what of it goes to the client
  def read_answer(frame)
    caught = @target && @readies == @target - 1
    @readies += 1 if frame.start_with?("Z")
    return frame unless caught

    @answer << frame
    @readies == @target ? settle : ""
  end

  # The whole answer is there: it is lost with its connection, or passes.
  def settle
    answer = @answer
    @answer = []
    @target = nil
    if @trap.worthwhile?(answer)
      close
      @trap.spring
      ""
    else
      @trap.release
      answer.join
    end
  end
end
