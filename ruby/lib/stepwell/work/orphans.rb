# frozen_string_literal: true

module Stepwell
  module Work
    # Processes that became this one's children because their parents are gone, as they do for the first process of a
    # container. Nobody waits for them, so when they end they would stay in the table of processes for ever.
    #
    # Which of its children a process has inherited the system does not tell. What has ended and is waited for by nobody
    # for a while is taken for inherited.
    # @api private
    class Orphans
      # Seconds. A supervisor executes no code that could still wait for a child of its own.
      OF_A_SUPERVISOR = 1.0
      # Seconds. A handler may start a program and wait for its end later.
      OF_A_WORKER = 60.0

      # @param patience [Float] seconds that somebody else may take to wait for what has ended
      def initialize(patience)
        @patience = patience
        @ended = {}
      end

      # @param ours [Array<Integer>] what somebody waits for
      def reap(ours = [])
        ended = (children - ours).select { |pid| ended?(pid) }
        @ended = ended.to_h { |pid| [pid, @ended.fetch(pid, Work.now)] }
        @ended.each { |pid, since| wait_for(pid) if Work.now - since >= @patience }
      end

      private

      # None on a system that does not tell.
      def children
        Dir["/proc/self/task/*/children"].flat_map { |file| File.read(file).split.map(&:to_i) }
      rescue SystemCallError
        []
      end

      def ended?(pid)
        File.read("/proc/#{pid}/stat").match?(/\) Z /)
      rescue SystemCallError
        false
      end

      def wait_for(pid)
        Process.wait(pid, Process::WNOHANG)
      rescue Errno::ECHILD
        nil # somebody has waited for it after all
      end
    end
  end
end
