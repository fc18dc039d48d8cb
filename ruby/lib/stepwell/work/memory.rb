# frozen_string_literal: true

require "etc"

module Stepwell
  module Work
    # Sees to it that no process of a fleet holds more memory than it may. One at a time is replaced, and the next one
    # starts when it has ended: the limit is there because memory is short, and two where one was would need more of it.
    # @api private
    class Memory
      # How often it looks, in seconds.
      LOOK = 2.0

      # @param pid [Integer]
      # @return [Integer] resident bytes, those included that it shares with others; 0 when the process is gone
      def self.resident(pid)
        File.read("/proc/#{pid}/statm").split[1].to_i * Etc.sysconf(Etc::SC_PAGESIZE)
      rescue Errno::ENOENT, Errno::ESRCH
        0
      end

      # @param limit [Integer, nil] bytes of one process; nil means none
      # @raise [Failed] when this system does not tell, or the application as it is loaded is above the limit
      def initialize(limit)
        @limit = limit
        @next_look = 0.0
        return unless limit
        raise Failed, "--memory-limit needs /proc, which this system has not" unless File.exist?("/proc/self/statm")

        held = self.class.resident(Process.pid)
        return if held < limit

        raise Failed, "the application alone holds #{text(held)} when it is loaded, which is above --memory-limit " \
                      "#{text(limit)}: processes would be replaced for ever"
      end

      # @param places [Array<Place>]
      # @yieldparam place [Place] whose process is to be replaced
      # @yieldparam why [String] for people
      def look(places)
        return unless @limit && Work.now >= @next_look

        @next_look = Work.now + LOOK
        children = places.select(&:child)
        return if children.any? { |place| place.child.deadline }

        place = children.select { |it| it.child.working? }.max_by { |it| self.class.resident(it.child.pid) }
        held = place ? self.class.resident(place.child.pid) : 0
        yield place, "holds #{text(held)}, more than #{text(@limit)}" if held > @limit
      end

      private

      def text(bytes)
        "#{bytes.fdiv(1024**2).round} MB"
      end
    end
  end
end
