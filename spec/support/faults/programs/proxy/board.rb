# frozen_string_literal: true

# All connections, and where new ones go.
class Board
  attr_reader :trap
  attr_writer :upstream

  def initialize(upstream)
    @upstream = upstream
    @trap = Trap.new
    @links = []
    @given_up = []
    @mutex = Mutex.new
  end

  # @param client [Socket] that has just connected
  def serve(client)
    link = Link.new(client, (connect unless @dark), @trap)
    @mutex.synchronize { @links << link }
    link.run { |ended| end_of(ended) }
  rescue SystemCallError
    client.close # nobody listens there
  end

  def cut
    all.each(&:close)
  end

  def blackhole
    @dark = true
    all.each(&:darken)
  end

  # Who was held stays dead, except that a client that has given up is now seen to have.
  def heal
    @dark = false
    @given_up.each(&:close).clear
  end

  def held
    all.count(&:dark?)
  end

  private

  # A client has closed its end. In the dark the server cannot know yet.
  def end_of(link)
    @mutex.synchronize { @links.delete(link) }
    return link.close unless @dark

    @given_up << link
  end

  def all
    @mutex.synchronize { @links.dup }
  end

  def connect
    return UNIXSocket.new(@upstream) if @upstream.start_with?("/")

    host, port = @upstream.split(":")
    TCPSocket.new(host, port)
  end
end
