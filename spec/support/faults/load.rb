# frozen_string_literal: true

module Specs
  module Faults
    # What an example puts its processes under, and how much of that gets through.
    module Load
      # A client that submits and waits without end, until {#end_load}.
      # @param env [Hash{Symbol => String}] what it alone has of environment
      # @return [Program]
      def start_load(**env)
        crew.start(:client, **env).tap(&:ready).tap { |client| client.puts("feed 1 0") }
      end

      # @return [Integer] how often a call of the client failed for good and was repeated, once all tasks have ended
      def end_load(client)
        client.puts("stop")
        said = client.gets(60)
        Integer(said.to_s[/\Afed \d+ (\d+)\z/, 1] || raise("the client said #{said.inspect}: #{client.log}"))
      end

      # Submits numbers that have been submitted before, from another process: their keys stand for the same tasks,
      # or {History#doubled} tells.
      # @param ranges [Array<(Integer, Integer)>] first number and how many
      def submit_again(*ranges)
        other = crew.start(:client, KEYLESS: nil).tap(&:ready)
        ranges.each do |first, count|
          other.puts("feed #{first} #{count}")
          expect(other.gets).to eq("fed #{count} 0")
        end
      end

      # Returns when one more task has finished.
      def progress(url: database_url)
        now = Time.now.utc.strftime("%F %T.%6N UTC")
        finished = "select exists (select from stepwell.tasks where finished_at > '#{now}')"
        eventually(30, "the end of one more task") { psql(finished, url: url) == "t" }
      end

      # @param seconds [Numeric, nil] how long is measured; with a block, for as long as it takes
      # @return [Integer] steps that complete in a second, now
      def steps_per_second(seconds = nil, url: database_url)
        count = -> { psql("select count(*) from stepwell.steps where state = 'complete'", url: url).to_i }
        before = count.call
        started = Patience.now
        block_given? ? yield : IO.select(nil, nil, nil, seconds)
        ((count.call - before) / (Patience.now - started)).round
      end

      # Does something again and again for as long as it is told.
      # @param seconds [Numeric]
      # @param every [Range] seconds between two
      def repeatedly(seconds, every:)
        deadline = Patience.now + seconds
        until Patience.now > deadline
          IO.select(nil, nil, nil, random.rand(every))
          yield
        end
      end
    end
  end
end
