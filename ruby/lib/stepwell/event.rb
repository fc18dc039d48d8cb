# frozen_string_literal: true

module Stepwell
  # Something that a person or a rule did to a task.
  # @!attribute [r] kind
  #   @return [Symbol] :cancel, :retry, :resolve, :replay or :deadline
  # @!attribute [r] actor
  #   @return [String] who: what was given as actor, else the database user, else "stepwell" for a rule
  # @!attribute [r] reason
  #   @return [String, nil] why
  # @!attribute [r] details
  #   @return [Hash, nil] more, such as the step
  # @!attribute [r] at
  #   @return [Time]
  Event = Struct.new(:kind, :actor, :reason, :details, :at, keyword_init: true) do
    # @api private
    def self.from_row(row)
      new(kind: row["kind"].to_sym, actor: row["actor"], reason: row["reason"], details: row["details"],
          at: Stepwell.time(row["happened_at"])).freeze
    end
  end
end
