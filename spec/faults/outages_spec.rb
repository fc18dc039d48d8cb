# frozen_string_literal: true

require_relative "faults_helper"

# PostgreSQL is away for a while, and comes back, perhaps as another server. Behind a proxy, so that every kind of away
# is at hand.
RSpec.describe "an outage", :faults do
  pool_size = 4 # so few that pools are full under load: a connection beside them is seen
  settings = { STEPWELL__WORKER__LEASE: "1s", STEPWELL__DATABASE__POOL_SIZE: pool_size.to_s }
  outages, seconds = Specs::Faults.sized(short: [1, 1.0..2.0], full: [3, 2.0..6.0])

  before { @proxy = start_proxy("127.0.0.1:#{server.port}") }

  # Starts everybody, lets the outages happen, and expects all to be as before.
  # @yield an outage, from its beginning, which it notes, to its end
  # @yieldreturn [Server] that is there after it
  def expect_return(outages, address: @proxy.address, **settings)
    @limit = 5 * (settings.fetch(:STEPWELL__DATABASE__POOL_SIZE).to_i + 1) # one beside the pool listens
    crew(url: server.url(address), known: %i[trouble recovered refused given_back], **settings)
    crew.muster(orchestrator: 2) # the schema comes with them
    crew.muster(worker: 2)
    client = start_load
    progress(url: server.url)
    before = sizes(server)
    server_then = nil
    outages.times do
      server_then = yield
      progress(url: server_then.url)
    end
    expect_same_sizes(server_then, before)
    report.note(client_errors: end_load(client))
    server_then
  end

  # @return [Hash] connections in the database, and threads of each process
  def sizes(server)
    connections = psql("select count(*) from pg_stat_activity where application_name = 'stepwell'", url: server.url)
    { connections: connections.to_i, threads: crew.programs.map(&:threads) }
  end

  # Threads that nobody needs any more, and connections whose ends have not met yet, are given a moment. A pool may be
  # fuller than before, but nothing is left beside it.
  def expect_same_sizes(server, before)
    after = nil
    eventually(15, "no more connections and threads than before") do
      after = sizes(server)
      after[:connections] <= @limit && after[:threads].zip(before[:threads]).all? do |now, old|
        now <= old
      end
    end
    report.note(connections: [before[:connections], after[:connections]],
                threads: [before[:threads].sum, after[:threads].sum])
  rescue RuntimeError => e
    raise "#{e.message}: #{before} became #{after}"
  end

  def finish(server, outages, again: outages * 2 * Specs::Faults::HELD_BY_WORKER)
    conclude(url: server.url, again: again, leases: outages * 2 * Specs::Faults::HELD_BY_WORKER,
             trouble: outages * Specs::Faults::Log::TROUBLE_PER_OUTAGE)
    @proxy.process.wait
  end

  define_method(:pass_time) { IO.select(nil, nil, nil, random.rand(seconds)) }

  it "by a restart of PostgreSQL ends for everybody" do
    last = expect_return(outages, address: "127.0.0.1:#{server.port}", **settings) do
      server.stop("fast")
      report.fault
      pass_time
      server.start
      server
    end
    finish(last, outages)
  end

  it "in which every connection is cut ends for everybody" do
    last = expect_return(outages * 3, **settings) do
      @proxy.cut
      report.fault
      server
    end
    finish(last, outages * 3)
  end

  # Steps that are being executed when the server is lost are reported to one that takes no writes yet. Their leases
  # last longer than that, so their results count, and nothing is executed again.
  it "by the loss of the server, with its standby read-only before it is promoted, ends for everybody" do
    standby
    last = expect_return(1, **settings, STEPWELL__WORKER__LEASE: "20s", HANDLER_MS: "100-500", WINDOW: "4") do
      server.stop("immediate")
      report.fault
      @proxy.switch("127.0.0.1:#{standby.port}")
      pass_time # everybody meets a server that takes no writes
      standby.promote
      standby
    end
    finish(last, 1, again: 0)
  end

  # Nothing is answered and nothing refused: only a time limit on our side tells.
  it "in which the network says nothing ends for everybody" do
    limit, silence = Specs::Faults.sized(short: ["1s", 1.5], full: ["2s", 5])
    last = expect_return(outages, **settings, STEPWELL__DATABASE__CALL_TIMEOUT: limit) do
      @proxy.blackhole
      report.fault
      IO.select(nil, nil, nil, silence)
      @proxy.heal
      server
    end
    eventually(30, "the end of all connections that have gone dead") { @proxy.held.zero? }
    finish(last, outages)
  end
end
