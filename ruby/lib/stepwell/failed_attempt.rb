# frozen_string_literal: true

module Stepwell
  # An attempt that did not succeed: a Hash, see {Step} for its keys, that shows itself in one line.
  class FailedAttempt < Hash
    include OneLine

    # @api private
    def self.from_row(row)
      times = %w[started_at finished_at].to_h { |key| [key, Stepwell.time(row[key])] }
      new.update(row, times).freeze
    end

    private

    def summary
      ["attempt #{self["attempt"]}", self["kind"], took(self["started_at"], self["finished_at"]), self["class"],
       quoted(self["message"])]
    end
  end
end
